"""The transform that passes over samples that cannot be loaded."""
from __future__ import annotations

import zlib
from typing import Any

import torch
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS

from ...models.layers.arguments import Flag, Integer, OrNone, Settings, checked, naming_argument
from ...registry import TRANSFORMS
from ...utils.images import file_defect
from ..checks.masks import MaskLabels, label_defect
from ..checks.problems import BadDataError, warn

RULES = dict(
    transform=Settings(),
    strict=Flag(),
    num_classes=OrNone(Integer(1)),
    ignore_index=Integer(-2**31, 2**31 - 1),
)


@TRANSFORMS.register_module()
class SkipBadSample:
    """A loading transform that passes over bad samples: the dataset then draws another one, as mmengine provides for.

    A sample is bad if the transform raises an error or returns nothing, if its image or mask file is cut off (OpenCV
    would fill the rest with grey), or if a mask does not fit its image. Every file is named once in the log.

    Args:
        transform (dict): Config of the transform.
        strict (bool): Stop at the first bad sample instead. Defaults to False.
        num_classes (int | None): Labels of a semantic mask, once loaded, must be less. Defaults to None: not checked.
        ignore_index (int): The label that is allowed besides. Defaults to 255.

    Raises:
        ValueError: If an argument is not allowed, or the transform cannot be built.
        BadDataError: If the data as a whole is bad: at least 10 files and more than 5 % of the samples drawn, or 100
            samples in a row; with ``strict``, at the first.
    """

    @checked(RULES)
    def __init__(self, transform: dict, strict: bool = False, num_classes: int | None = None,
                 ignore_index: int = 255) -> None:
        with naming_argument('transform', transform, 'the config of a transform'):
            self.transform = MMENGINE_TRANSFORMS.build(transform)
        self.strict = strict
        self.labels = MaskLabels(num_classes, ignore_index)
        self.in_a_row = 0
        # The processes that load data share these; most configs start new ones for every epoch.
        self.drawn = torch.zeros(1, dtype=torch.int64).share_memory_()
        self.reported = torch.zeros(1 << 18, dtype=torch.bool).share_memory_()  # by checksum of the file's name

    def __call__(self, results: dict[str, Any]) -> dict[str, Any] | None:
        keys = set(results)
        self.drawn += 1
        try:
            loaded = self.transform(results)
            defect = self.defect(loaded, keys)
        except Exception as error:
            loaded, defect = None, f'{type(error).__name__}: {error}'.splitlines()[0]
        if defect is None:
            self.in_a_row = 0
            return loaded
        self.report(results, defect)
        return None

    def defect(self, loaded: dict[str, Any] | None, keys: set[str]) -> str | None:
        """What is wrong with what has just been loaded, or None.

        Args:
            loaded (dict | None): What the transform returned.
            keys (set[str]): What was there before.
        """
        if loaded is None:
            return 'cannot be loaded'
        new = loaded.keys() - keys
        if 'img' in new and isinstance(loaded.get('img_path'), str):
            return file_defect(loaded['img_path'])
        if 'gt_seg_map' in new and isinstance(loaded.get('seg_map_path'), str):
            mask = loaded['gt_seg_map']
            return file_defect(loaded['seg_map_path']) or label_defect(
                mask, loaded.get('ori_shape', mask.shape), self.labels)
        return None

    def report(self, results: dict[str, Any], defect: str) -> None:
        """Log a bad sample, once for every file, or stop.

        Args:
            results (dict): The sample.
            defect (str): What is wrong with it, if none of its files is broken.
        """
        files = [results[key] for key in ('img_path', 'seg_map_path') if isinstance(results.get(key), str)]
        reasons = [f'{path} {reason}' for path in files if (reason := file_defect(path))]
        message = reasons[0] if reasons else f'{" with ".join(files) or "a sample"}: {defect}'
        if self.strict:
            raise BadDataError(f'bad training sample: {message}')
        self.in_a_row += 1
        slot = zlib.crc32(message.encode()) % len(self.reported)
        if not self.reported[slot]:
            self.reported[slot] = True
            warn(f'skipped a bad training sample: {message}')
        bad, drawn = int(self.reported.sum()), int(self.drawn)
        if self.in_a_row >= 100 or bad >= 10 and bad > 0.05 * drawn:
            raise BadDataError(f'too many bad training samples: {bad} files in {drawn} samples drawn, '
                               f'{self.in_a_row} samples in a row; the last: {message}')
