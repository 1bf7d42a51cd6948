"""Images and masks to evaluate on: every defect stops the run before it starts."""
import pytest
from helpers import MASK_DEFECTS, expect_bad_data, segmentation_config, write_unknown_label
from mmengine.registry import DATASETS, init_default_scope

from res2net_mm.datasets.checks import BuiltSplit, check_data, check_splits


def built(cfg):
    """The validation set of a config."""
    init_default_scope(cfg.default_scope)
    return [BuiltSplit('val', [DATASETS.build(cfg.val_dataloader.dataset)])]


@pytest.mark.slow
@pytest.mark.parametrize('name, spoil, message', MASK_DEFECTS)
def test_images_and_masks_to_evaluate_on(name, spoil, message, masks):
    cfg = segmentation_config(masks, 'val')
    check_data(cfg, ['val'])
    check_splits(built(cfg))
    spoil(masks / name)
    expect_bad_data(f'1 (images|masks) to evaluate.*{masks / name} .*{message}', check_splits, built(cfg))


def test_masks_that_a_class_of_ones_own_loads(masks):
    """It is checked as its base is, unless it reads another kind of file."""
    cfg = segmentation_config(masks, 'val')
    from mmseg.datasets.transforms import LoadAnnotations

    class ReadLabels(LoadAnnotations):
        pass

    class ReadOtherLabels(LoadAnnotations):
        def _load_seg_map(self, results):
            pass

    write_unknown_label(masks / 'SegmentationClass' / 'b.png')
    cfg.val_dataloader.dataset.pipeline[1].type = ReadOtherLabels
    check_splits(built(cfg))
    cfg.val_dataloader.dataset.pipeline[1].type = ReadLabels
    expect_bad_data('b.png is a mask with label 2', check_splits, built(cfg))
