"""Where a saliency net looks: by masks whose answer is known."""
import cv2
import numpy as np
import pytest
import torch
from helpers import config_path, write_saliency_pair
from mmengine.registry import MODELS, init_default_scope

from res2net_mm import load_config

pytest.importorskip('mmseg')
pytest.importorskip('pytorch_grad_cam')


@pytest.fixture(scope='module')
def checkpoints(tmp_path_factory):
    """Of one net, which takes every pixel for salient, and then none."""
    init_default_scope('mmseg')
    torch.manual_seed(0)
    model = MODELS.build(load_config(config_path('dss_r2n26_ecssd.py')).model)
    files = {}
    for name, bias in (('everything', 5.), ('nothing', -5.)):
        torch.nn.init.constant_(model.decode_head.fuse.bias, bias)
        for side in model.decode_head.sides:
            torch.nn.init.constant_((side.merge or side.score).bias, bias)
        files[name] = str(tmp_path_factory.mktemp('looks') / f'{name}.pth')
        torch.save(dict(state_dict=model.state_dict(), meta={}), files[name])
    return files


@pytest.fixture
def pairs(tmp_path):
    """Six photos and their masks: of two the whole is salient, of two the left half, of two a strip."""
    found = []
    for index, columns in enumerate((64, 64, 32, 32, 1, 1)):
        image, mask = tmp_path / f'{index}.jpg', tmp_path / f'{index}.png'
        write_saliency_pair(image, mask, index, (48, 64))
        salient = np.zeros((48, 64), np.uint8)
        salient[:, :columns] = 255
        cv2.imwrite(str(mask), salient)
        found.append((image, mask))
    return found


@pytest.mark.slow
def test_energy_by_size(checkpoints, pairs):
    from res2net_mm.analysis.looks import measure_looks
    config = str(config_path('dss_r2n26_ecssd.py'))
    numbers = measure_looks(config, checkpoints['everything'], pairs)
    assert numbers['look_energy_large'] == pytest.approx(100) and numbers['look_missed'] == 0
    assert 0 <= numbers['look_energy_small'] < numbers['look_energy_medium'] < 100
    means = [numbers[f'look_energy_{size}'] for size in ('small', 'medium', 'large')]
    assert numbers['look_energy'] == pytest.approx(sum(means) / 3)
    assert 0 < numbers['look_field_2'] <= numbers['look_field_3'] <= numbers['look_field_4'] <= 320
    assert 0 < numbers['look_covered'] <= 100
    missed = measure_looks(config, checkpoints['nothing'], pairs)
    assert missed['look_missed'] == 6 and missed['look_energy'] is missed['look_covered_small'] is None
    assert missed['look_field_4'] > 0
