"""Datasets that no toolbox has. This needs mmseg."""
from __future__ import annotations

from typing import Any, Sequence

from mmengine.dataset import Compose
from mmseg.datasets import BaseSegDataset

from ..models.layers.arguments import (
    MOST,
    Anything,
    Flag,
    Integer,
    Integers,
    OrNone,
    Rule,
    SequenceOf,
    Text,
    checked,
)
from ..models.layers.refusal import naming_argument
from ..registry import DATASETS
from . import saliency_folders


class Indices(Rule):
    """A number of images, negative for the last ones, or a sequence of positions."""

    def check(self, name: str, value: Any, arguments: dict[str, Any]) -> Any:
        """Return the value."""
        if isinstance(value, (tuple, list)):
            return Integers(Integer(-MOST)).check(name, value, arguments)
        number = Integer(-MOST, MOST, where=lambda number, _: number != 0, what='a number of images other than 0')
        return number.check(name, value, arguments)


RULES = dict(
    sets=SequenceOf(Text(), "names, such as ('ECSSD', )", at_least=1),
    data_root=Text(file=True),
    pipeline=SequenceOf(Anything(), 'transforms'),
    indices=OrNone(Indices()),
    test_mode=Flag(),
    lazy_init=Flag(),
    max_refetch=Integer(0),
)


@DATASETS.register_module()
class SaliencyDataset(BaseSegDataset):
    """Images with masks of their salient objects, of one set or several (paper section 4.9).

    ``saliency_folders.py`` says how the folders may lie. Labels are 0 and 1, the latter for salient; every sample says
    in ``set_name`` which set it is of.

    Args:
        sets (Sequence[str]): Each a set, a folder in ``data_root``; 'MSRA-B:train.txt' is the part of MSRA-B that
            train.txt in its folder lists, one name of an image a line.
        data_root (str): The folder of the sets. Defaults to ''.
        pipeline (Sequence[dict]): Transforms. Defaults to ().
        indices (int | Sequence[int] | None): The first so many images, or those at these positions, of all sets
            together. Defaults to None, all.
        test_mode (bool): Whether an image that cannot be loaded is an error, instead of another being taken. Defaults
            to False.
        lazy_init (bool): Look into the folders on ``full_init``, not at once. Defaults to False.
        max_refetch (int): How often another image is taken. Defaults to 1000.

    Raises:
        ValueError: If an argument is not allowed, or a transform cannot be built.
        BadDataError: If there is no such set, or its folder holds no images in a known way.
    """

    METAINFO = dict(classes=('background', 'salient'), palette=[[0, 0, 0], [255, 255, 255]])

    @checked(RULES)
    def __init__(self,
                 sets: Sequence[str],
                 data_root: str = '',
                 pipeline: Sequence[dict] = (),
                 indices: int | Sequence[int] | None = None,
                 test_mode: bool = False,
                 lazy_init: bool = False,
                 max_refetch: int = 1000) -> None:
        self.sets = sets
        with naming_argument('pipeline', pipeline, 'transforms or their configs'):
            transforms = Compose(pipeline).transforms
        super().__init__(data_root=str(data_root), pipeline=transforms, indices=indices, test_mode=test_mode,
                         lazy_init=lazy_init, max_refetch=max_refetch)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Find the images of all sets."""
        images: list[dict[str, Any]] = [
            dict(img_path=str(image), seg_map_path=str(mask), set_name=saliency_folders.set_name(name), label_map=None,
                 reduce_zero_label=False, seg_fields=[])
            for name in self.sets for image, mask in saliency_folders.find_pairs(self.data_root, name)
        ]
        positions = self._indices if isinstance(self._indices, (tuple, list)) else ()
        if any(not -len(images) <= i < len(images) for i in positions):
            raise ValueError(f'SaliencyDataset: indices={self._indices!r} must be positions among {len(images)} images')
        return images

    @staticmethod
    def mask_defect(mask: str, image: str) -> str | None:
        """What is wrong with a mask file for its image, or None: what ``check_masks`` asks."""
        return saliency_folders.mask_defect(mask, image)
