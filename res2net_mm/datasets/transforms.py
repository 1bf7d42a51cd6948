"""Data transforms that no toolbox has. Nothing here needs a toolbox: mmcv alone."""
import zlib

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS

from ..registry import TRANSFORMS
from ..utils.images import file_defect
from . import checks as data
from .saliency_folders import read_mask


@TRANSFORMS.register_module()
class LoadSaliencyAnnotations(BaseTransform):
    """Load a mask of salient objects, ``seg_map_path``, as ``gt_seg_map``, (h, w) of 0 and 1 (``read_mask``).

    mmseg's ``LoadAnnotations`` would keep the 255 of the salient pixels, which it ignores.
    """

    def transform(self, results):
        results['gt_seg_map'] = read_mask(results['seg_map_path'])
        results['seg_fields'].append('gt_seg_map')
        return results


@TRANSFORMS.register_module()
class ClippedBBoxTransform(BaseTransform):
    """Scale and rotate persons' boxes by clipped normal variables, as SimpleBaseline does (paper section 4.10).

    The scale is drawn from N(1, ``scale_std``) and clipped at one standard deviation, the rotation, for a share
    ``rotate_prob`` of the boxes, from N(0, ``rotate_std``) and clipped at two: so 32 % of the scales are one of the two
    bounds. mmpose's ``RandomBBoxTransform`` draws from a truncated normal instead, which has less spread in scale and
    more in rotation.

    Takes and replaces ``bbox_scale``, (n, 2), in pixels; adds ``bbox_rotation``, (n, ), in degrees. It goes
    between mmpose's ``GetBBoxCenterScale`` and ``TopdownAffine``.

    Args:
        scale_std (float): Standard deviation of the scale, in [0, 1). Defaults to 0.3.
        rotate_std (float): Standard deviation of the rotation in degrees. Defaults to 40.
        rotate_prob (float): Probability of a rotation. Defaults to 0.6.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(self, scale_std=0.3, rotate_std=40., rotate_prob=0.6):
        super().__init__()
        if not 0 <= scale_std < 1:
            raise ValueError(f'ClippedBBoxTransform: scale_std={scale_std}: must be in [0, 1)')
        if rotate_std < 0:
            raise ValueError(f'ClippedBBoxTransform: rotate_std={rotate_std}: must not be negative')
        if not 0 <= rotate_prob <= 1:
            raise ValueError(f'ClippedBBoxTransform: rotate_prob={rotate_prob}: must be in [0, 1]')
        self.scale_std = scale_std
        self.rotate_std = rotate_std
        self.rotate_prob = rotate_prob

    def transform(self, results):
        n = len(results['bbox_scale'])
        scale = 1 + self.scale_std * np.random.randn(n, 1).clip(-1, 1)
        rotation = self.rotate_std * np.random.randn(n).clip(-2, 2)
        rotation[np.random.rand(n) >= self.rotate_prob] = 0
        results['bbox_scale'] = results['bbox_scale'] * scale.astype(np.float32)
        results['bbox_rotation'] = rotation.astype(np.float32)
        return results

    def __repr__(self):
        return (f'{type(self).__name__}(scale_std={self.scale_std}, rotate_std={self.rotate_std}, '
                f'rotate_prob={self.rotate_prob})')


@TRANSFORMS.register_module()
class SkipBadSample:
    """A loading transform that passes over bad samples: the dataset then draws another one, as mmengine provides for.

    A sample is bad if the transform raises an error or returns nothing, if its photo or mask file is cut off (OpenCV
    would fill the rest with grey), or if a mask does not fit its photo. Every file is named once in the log.

    Args:
        transform (dict): Config of the transform.
        strict (bool): Stop at the first bad sample instead. Defaults to False.
        num_classes (int | None): Labels of a semantic mask, once loaded, must be less. Defaults to None: not checked.
        ignore_index (int): The label that is allowed besides. Defaults to 255.

    Raises:
        BadDataError: If the data as a whole is bad: at least 10 files and more than 5 % of the samples drawn, or 100
            samples in a row; with ``strict``, at the first.
    """

    def __init__(self, transform, strict=False, num_classes=None, ignore_index=255):
        self.transform = MMENGINE_TRANSFORMS.build(transform)
        self.strict = strict
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.in_a_row = 0
        # The processes that load data share these; most configs start new ones for every epoch.
        self.drawn = torch.zeros(1, dtype=torch.int64).share_memory_()
        self.reported = torch.zeros(1 << 18, dtype=torch.bool).share_memory_()  # by checksum of the file's name

    def __call__(self, results):
        known = set(results)
        self.drawn += 1
        try:
            loaded = self.transform(results)
            defect = self.defect(loaded, known)
        except Exception as error:
            loaded, defect = None, f'{type(error).__name__}: {error}'.splitlines()[0]
        if defect is None:
            self.in_a_row = 0
            return loaded
        self.report(results, defect)
        return None

    def defect(self, loaded, known):
        """What is wrong with what has just been loaded, or None."""
        if loaded is None:
            return 'cannot be loaded'
        new = loaded.keys() - known
        if 'img' in new and isinstance(loaded.get('img_path'), str):
            return file_defect(loaded['img_path'])
        if 'gt_seg_map' in new and isinstance(loaded.get('seg_map_path'), str):
            return file_defect(loaded['seg_map_path']) or data.mask_defect(
                loaded['gt_seg_map'], loaded.get('ori_shape', loaded['gt_seg_map'].shape), self.num_classes,
                self.ignore_index)
        return None

    def report(self, results, defect):
        files = [results[key] for key in ('img_path', 'seg_map_path') if isinstance(results.get(key), str)]
        reasons = [f'{path} {reason}' for path in files if (reason := file_defect(path))]
        message = reasons[0] if reasons else f'{" with ".join(files) or "a sample"}: {defect}'
        if self.strict:
            raise data.BadDataError(f'bad training sample: {message}')
        self.in_a_row += 1
        slot = zlib.crc32(message.encode()) % len(self.reported)
        if not self.reported[slot]:
            self.reported[slot] = True
            data.warn(f'skipped a bad training sample: {message}')
        bad, drawn = int(self.reported.sum()), int(self.drawn)
        if self.in_a_row >= 100 or bad >= 10 and bad > 0.05 * drawn:
            raise data.BadDataError(f'too many bad training samples: {bad} files in {drawn} samples drawn, '
                                    f'{self.in_a_row} samples in a row; the last: {message}')
