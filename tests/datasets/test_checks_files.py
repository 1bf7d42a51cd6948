"""Images and masks to evaluate on: every defect stops the run before it starts."""
from types import SimpleNamespace

import pytest
from helpers import MASK_DEFECTS, expect_bad_data, segmentation_config
from mmengine.registry import DATASETS, init_default_scope

from res2net_mm.datasets.checks import check_data, check_images


def loop(cfg):
    """A validation loop as far as check_images looks at it."""
    init_default_scope(cfg.default_scope)
    return SimpleNamespace(dataloader=SimpleNamespace(dataset=DATASETS.build(cfg.val_dataloader.dataset)))


@pytest.mark.slow
@pytest.mark.parametrize('name, spoil, message', MASK_DEFECTS)
def test_images_and_masks_to_evaluate_on(name, spoil, message, masks):
    cfg = segmentation_config(masks, 'val')
    check_data(cfg, ['val'])
    check_images(loop(cfg))
    spoil(masks / name)
    expect_bad_data(f'1 images or masks.*{masks / name} .*{message}', check_images, loop(cfg))
