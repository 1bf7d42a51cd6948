"""Datasets that no toolbox has. This needs mmseg."""
from __future__ import annotations

from typing import Any, Sequence

from mmseg.datasets import BaseSegDataset

from ..registry import DATASETS
from . import saliency_folders


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
        BadDataError: If there is no such set, or its folder holds no images in a known way.
    """

    METAINFO = dict(classes=('background', 'salient'), palette=[[0, 0, 0], [255, 255, 255]])

    def __init__(self,
                 sets: Sequence[str],
                 data_root: str = '',
                 pipeline: Sequence[dict] = (),
                 indices: int | Sequence[int] | None = None,
                 test_mode: bool = False,
                 lazy_init: bool = False,
                 max_refetch: int = 1000) -> None:
        if isinstance(sets, str) or not sets:
            raise ValueError(f"SaliencyDataset: sets={sets!r} must be a sequence of names, such as ('ECSSD', )")
        self.sets = sets
        super().__init__(data_root=data_root, pipeline=list(pipeline), indices=indices, test_mode=test_mode,
                         lazy_init=lazy_init, max_refetch=max_refetch)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Find the images of all sets."""
        return [
            dict(img_path=str(image), seg_map_path=str(mask), set_name=saliency_folders.set_name(name), label_map=None,
                 reduce_zero_label=False, seg_fields=[])
            for name in self.sets for image, mask in saliency_folders.find_pairs(self.data_root, name)
        ]

    @staticmethod
    def mask_defect(mask: str, image: str) -> str | None:
        """What is wrong with a mask file for its image, or None: what ``check_images`` asks."""
        return saliency_folders.mask_defect(mask, image)
