"""Data sets that no toolbox has. This needs mmseg."""
from mmseg.datasets import BaseSegDataset

from ..registry import DATASETS
from . import saliency_folders as saliency_data


@DATASETS.register_module()
class SaliencyDataset(BaseSegDataset):
    """Photos with masks of their salient objects, of one set or several (paper section 4.9).

    ``saliency_data.py`` says how the folders may lie. Labels are 0 and 1, the latter for salient; every sample says in
    ``set_name`` which set it is of.

    Args:
        sets (Sequence[str]): Each a set, a folder in ``data_root``; 'MSRA-B:train.txt' is the part of MSRA-B that
            train.txt in its folder lists, one name of a photo a line.
        data_root (str): The folder of the sets. Defaults to ''.
        pipeline (Sequence[dict]): Transforms. Defaults to ().
        indices (int | Sequence[int] | None): The first so many photos, or those at these positions, of all sets
            together. Defaults to None, all.
        test_mode (bool): Whether a photo that cannot be loaded is an error, instead of another being taken. Defaults
            to False.
        lazy_init (bool): Look into the folders on ``full_init``, not at once. Defaults to False.
        max_refetch (int): How often another photo is taken. Defaults to 1000.

    Raises:
        BadDataError: If there is no such set, or its folder holds no photos in a known way.
    """

    METAINFO = dict(classes=('background', 'salient'), palette=[[0, 0, 0], [255, 255, 255]])

    def __init__(self,
                 sets,
                 data_root='',
                 pipeline=(),
                 indices=None,
                 test_mode=False,
                 lazy_init=False,
                 max_refetch=1000):
        if isinstance(sets, str) or not sets:
            raise ValueError(f"SaliencyDataset: sets={sets!r} must be a sequence of names, such as ('ECSSD', )")
        self.sets = sets
        super().__init__(data_root=data_root, pipeline=list(pipeline), indices=indices, test_mode=test_mode,
                         lazy_init=lazy_init, max_refetch=max_refetch)

    def load_data_list(self):
        """Find the photos of all sets."""
        return [
            dict(img_path=str(photo), seg_map_path=str(mask), set_name=saliency_data.set_name(name), label_map=None,
                 reduce_zero_label=False, seg_fields=[])
            for name in self.sets for photo, mask in saliency_data.find_pairs(self.data_root, name)
        ]

    @staticmethod
    def mask_defect(mask, photo):
        """What is wrong with a mask file for its photo, or None: what ``data.check_photos`` asks."""
        return saliency_data.mask_defect(mask, photo)
