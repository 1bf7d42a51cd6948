"""The transform that passes over samples that cannot be loaded."""
from __future__ import annotations

import zlib
from typing import Any

import torch
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS

from ...models.layers.arguments import Flag, Integer, OrNone, Settings, checked
from ...models.layers.refusal import naming_argument
from ...registry import TRANSFORMS
from ...utils.images import file_defect, image_defect
from ..checks.loading import annotated_size, image_decoder, reads_local_files
from ..checks.masks import MaskLabels, label_defect
from ..checks.problems import TOLERATED, BadDataError, warn

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
    would fill the rest with grey), if its image has too many pixels or another size than it is annotated with, or if a
    mask does not fit its image. Every file is named once in the log.

    Attributes:
        known_defects (dict[str, str]): What is wrong with images, by path, that were checked before the run.

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
        self.decoder = image_decoder(self.transform)
        self.is_local = reads_local_files(self.transform)
        self.known_defects: dict[str, str] = {}
        self.in_a_row = 0
        # The processes that load data share these; most configs start new ones for every epoch.
        self.drawn = torch.zeros(1, dtype=torch.int64).share_memory_()
        self.reported = torch.zeros(1 << 18, dtype=torch.bool).share_memory_()  # by checksum of the file's name

    def __call__(self, results: dict[str, Any]) -> dict[str, Any] | None:
        keys = set(results)
        self.drawn += 1
        loaded, message = None, self.image_problem(results)
        if message is None:
            try:
                loaded = self.transform(results)
                defect = self.defect(loaded, keys)
            except Exception as error:
                defect = f'{type(error).__name__}: {error}'.splitlines()[0]
            if defect is None:
                self.in_a_row = 0
                return loaded
            message = self.name_files(results, defect)
        self.report(message)
        return None

    def image_problem(self, results: dict[str, Any]) -> str | None:
        """The image file of a sample and what is wrong with it, before it is decoded, or None."""
        path = results.get('img_path')
        if self.decoder is None or not self.is_local or 'img' in results or not isinstance(path, str):
            return None
        defect = self.known_defects.get(path) or image_defect(path, annotated_size(results), self.decoder)
        return f'{path} {defect}' if defect else None

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
            # Another kind of loader, of which only the file could be looked at.
            return file_defect(loaded['img_path']) if self.decoder is None and self.is_local else None
        if 'gt_seg_map' in new and isinstance(loaded.get('seg_map_path'), str):
            mask = loaded['gt_seg_map']
            return (file_defect(loaded['seg_map_path']) if self.is_local else None) or label_defect(
                mask, loaded.get('ori_shape', mask.shape), self.labels)
        return None

    def name_files(self, results: dict[str, Any], defect: str) -> str:
        """The broken file of a sample and what is wrong with it; if none is broken, its files and their defect."""
        files = [results[key] for key in ('img_path', 'seg_map_path') if isinstance(results.get(key), str)]
        reasons = [f'{path} {reason}' for path in files if self.is_local and (reason := file_defect(path))]
        return reasons[0] if reasons else f'{" with ".join(files) or "a sample"}: {defect}'

    def report(self, message: str) -> None:
        """Log a bad sample, once for every file, or stop."""
        if self.strict:
            raise BadDataError(f'bad training sample: {message}')
        self.in_a_row += 1
        slot = zlib.crc32(message.encode()) % len(self.reported)
        if not self.reported[slot]:
            self.reported[slot] = True
            warn(f'skipped a bad training sample: {message}')
        bad, drawn = int(self.reported.sum()), int(self.drawn)
        if self.in_a_row >= 100 or bad >= 10 and bad > TOLERATED * drawn:
            raise BadDataError(f'too many bad training samples: {bad} files in {drawn} samples drawn, '
                               f'{self.in_a_row} samples in a row; the last: {message}')
