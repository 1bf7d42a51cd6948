"""The loading of masks of salient objects."""
from __future__ import annotations

from typing import Any

from mmcv.transforms import BaseTransform

from ...models.layers.arguments import checked
from ...registry import TRANSFORMS
from ...utils.masks import read_mask


@TRANSFORMS.register_module()
class LoadSaliencyAnnotations(BaseTransform):
    """Load a mask of salient objects, ``seg_map_path``, as ``gt_seg_map``, (h, w) of 0 and 1 (``read_mask``).

    mmseg's ``LoadAnnotations`` would keep the 255 of the salient pixels, which it ignores.
    """

    @checked({})
    def __init__(self) -> None:
        super().__init__()

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load the mask of a sample."""
        results['gt_seg_map'] = read_mask(results['seg_map_path'])
        results['seg_fields'].append('gt_seg_map')
        return results
