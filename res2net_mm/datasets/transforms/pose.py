"""The augmentation of persons' boxes that SimpleBaseline has and mmpose has not."""
from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from ...models.layers.arguments import Number, checked
from ...registry import TRANSFORMS

RULES = dict(scale_std=Number(0, 1, below=True), rotate_std=Number(0, 360), rotate_prob=Number(0, 1))


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
        rotate_std (float): Standard deviation of the rotation in degrees, in [0, 360]. Defaults to 40.
        rotate_prob (float): Probability of a rotation. Defaults to 0.6.

    Raises:
        ValueError: If an argument is out of its range.
    """

    @checked(RULES)
    def __init__(self, scale_std: float = 0.3, rotate_std: float = 40., rotate_prob: float = 0.6) -> None:
        super().__init__()
        self.scale_std = scale_std
        self.rotate_std = rotate_std
        self.rotate_prob = rotate_prob

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Scale and rotate the boxes of a sample."""
        n = len(results['bbox_scale'])
        scale = 1 + self.scale_std * np.random.randn(n, 1).clip(-1, 1)
        rotation = self.rotate_std * np.random.randn(n).clip(-2, 2)
        rotation[np.random.rand(n) >= self.rotate_prob] = 0
        results['bbox_scale'] = results['bbox_scale'] * scale.astype(np.float32)
        results['bbox_rotation'] = rotation.astype(np.float32)
        return results

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(scale_std={self.scale_std}, rotate_std={self.rotate_std}, '
                f'rotate_prob={self.rotate_prob})')
