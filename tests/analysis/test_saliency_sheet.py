"""tools/visualization/saliency_sheet.py: images, masks and maps of two small models."""
import cv2
import numpy as np
import pytest
import torch
from helpers import expect_failure, randomise
from mmengine.registry import MODELS, init_default_scope

from res2net_mm import load_config
from res2net_mm.analysis.saliency_sheet import SaliencyModel, choose_images, compare_saliency
from res2net_mm.cli.saliency_sheet import main

pytest.importorskip('mmseg')
SIZES = [(64, 64), (47, 64), (64, 51), (40, 60), (64, 40)]  # of the images of a dataset


@pytest.fixture(scope='module')
def datasets(tmp_path_factory):
    """ECSSD and MSRA-B with five images each, and a list with the last two of MSRA-B."""
    root = tmp_path_factory.mktemp('saliency')
    rng = np.random.default_rng(0)
    for name, image_folder, mask_folder in (('ECSSD', 'images', 'ground_truth_mask'), ('MSRA-B', 'Imgs', 'Imgs')):
        for folder in {image_folder, mask_folder}:
            (root / name / folder).mkdir(parents=True)
        for i, size in enumerate(SIZES):
            mask = np.zeros(size, np.uint8)
            mask[10:30, 10:30] = 255
            image = rng.integers(0, 255, (*size, 3), np.uint8)
            cv2.imwrite(str(root / name / image_folder / f'{name[0]}{i}.jpg'), image)
            cv2.imwrite(str(root / name / mask_folder / f'{name[0]}{i}.png'), mask)
    (root / 'MSRA-B' / 'val.txt').write_text('M3\nM4\n')
    return root


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    """A config, and two checkpoints of random weights of a size that makes maps vary."""
    folder = tmp_path_factory.mktemp('models')
    config = folder / 'small.py'
    config.write_text("_base_ = 'res2net_mm::dss_r2n50_msrab.py'\nmodel = dict(\n"
                      '    backbone=dict(depth=26, base_channels=8, init_cfg=None),\n'
                      '    decode_head=dict(in_channels=(8, 32, 64, 128, 256), channels=(4, ) * 5))\n')
    checkpoints = []
    init_default_scope('mmseg')
    for seed in range(2):
        torch.manual_seed(seed)
        model = randomise(MODELS.build(load_config(config).model))
        torch.nn.init.normal_(model.decode_head.fuse.weight)
        checkpoints.append(folder / f'{seed}.pth')
        torch.save(model.state_dict(), checkpoints[-1])
    return str(config), *map(str, checkpoints)


def test_command(models, datasets, tmp_path, capsys):
    config, first, second = models
    out = tmp_path / 'figures' / 'saliency.png'
    compared = [config, first, '--compare', config, second]
    main([*compared, '--data-root', str(datasets), '--count', '3', '--out', str(out), '--device', 'cpu'])
    figure = cv2.imread(str(out))
    assert figure.shape[1] > 900 and figure.std() > 20 and str(out) in capsys.readouterr().out

    common = ['--data-root', str(datasets), '--out', str(out), '--device', 'cpu']
    for arguments, message in [(['--images', 'E7'], '--images E7: ECSSD has no such image; it has 5: E0'),
                               (['--set', 'ECSD'], "no set 'ECSD'"), (['--count', '0'], 'must be at least 1')]:
        expect_failure(capsys, main, [*compared, *common, *arguments], message)


def test_a_row_has_the_image_its_mask_and_the_maps(models, datasets):
    config, *checkpoints = models
    pairs = choose_images(datasets, 'MSRA-B:val.txt', ['M4'])
    row, = compare_saliency([SaliencyModel(config, checkpoint) for checkpoint in checkpoints], pairs)
    assert row.image.shape[:2] == row.mask.shape == row.maps[0].shape == row.maps[1].shape == SIZES[4]
    assert row.maps[0].std() > 0.01 and not np.array_equal(*row.maps)


def test_images_are_spread_over_the_dataset(datasets):
    assert [image.stem for image, _ in choose_images(datasets, 'ECSSD', count=2)] == ['E0', 'E2']
    assert len(choose_images(datasets, 'ECSSD', count=9)) == 5


def test_a_mask_of_another_size(datasets, tmp_path):
    mask = tmp_path / 'mask.png'
    cv2.imwrite(str(mask), np.zeros((9, 9), np.uint8))
    image = datasets / 'ECSSD' / 'images' / 'E0.jpg'
    with pytest.raises(ValueError, match='mask of 9 x 9 pixels'):
        compare_saliency([], [(image, mask)])
