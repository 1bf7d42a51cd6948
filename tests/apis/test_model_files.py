"""The config and the checkpoint that a name means."""
from pathlib import Path

import pytest
from helpers import CONFIGS, LEAVES, ROOT, config_path

from res2net_mm.apis.model_files import demo_models, find_model
from res2net_mm.checkpoints.weights import SCHEME
from res2net_mm.models.public_weights import BY_HAND, WEIGHTS
from res2net_mm.utils.errors import UserError

NAMES = ['demo_classifier_r2n26', 'demo_deeplabv3plus_r2n26', 'demo_faster_rcnn_r2n26']


def files(model, checkpoint=None):
    found = find_model(model, checkpoint)
    weights = Path(found.checkpoint)
    if weights.is_file():
        weights = weights.resolve()  # an editable install has links
        return Path(found.config.rpartition('::')[2]).name, str(weights)
    return Path(found.config.rpartition('::')[2]).name, found.checkpoint


def test_the_models_that_come_with_the_package(tmp_path, monkeypatch):
    assert list(demo_models()) == NAMES
    for name in NAMES:
        weights = str(ROOT / 'demo' / 'weights' / f'{name}.safetensors')
        for model in (name, f'{name}.py', str(config_path(f'{name}.py')), f'res2net_mm::{name}.py'):
            assert files(model) == (f'{name}.py', weights)
            assert find_model(model).name == name
    (tmp_path / 'demo').mkdir()  # as in a checkout
    monkeypatch.chdir(tmp_path)
    assert find_model('demo') == find_model('demo_faster_rcnn_r2n26') == find_model(SCHEME + 'demo_faster_rcnn_r2n26')
    assert files('demo', 'mine.pth') == ('demo_faster_rcnn_r2n26.py', 'mine.pth')


@pytest.mark.parametrize('model, config, weights', [
    ('res2net50_26w4s', 'imagenet_r2n50_26w4s', 'res2net50_26w4s'),  # of a classifier by its weights
    ('Res2Net50-26w-4s', 'imagenet_r2n50_26w4s', 'res2net50_26w4s'),  # whose spelling does not matter
    ('res2net_mm://res2net50_26w4s', 'imagenet_r2n50_26w4s', 'res2net50_26w4s'),
    ('imagenet_r2n101_v1b', 'imagenet_r2n101_v1b', 'res2net101_v1b_26w4s'),  # and by its config
    ('mask_rcnn_r2n101_v1b_coco', 'mask_rcnn_r2n101_v1b_coco', 'mask_rcnn_r2n101_v1b_coco'),
    ('vfnet_r2n101_v1b_coco', 'vfnet_r2n101_v1b_coco', 'vfnet_r2n101_v1b_coco')])  # fetched by hand
def test_public_models(model, config, weights):
    assert files(model) == (f'{config}.py', SCHEME + weights)  # a file that is fetched when the model is loaded


def test_every_whole_model_is_found_by_the_name_of_its_weights():
    named = {row.name for row in (*WEIGHTS, *BY_HAND) if any(f'{SCHEME}{row.name}\n' in path.read_text().partition(
        '"""\n')[0].replace(' ', '\n') and 'tools/test.py' in path.read_text() for path in LEAVES)}
    assert len(named) > 15
    for name in named:
        assert find_model(name).checkpoint == SCHEME + name


@pytest.mark.parametrize('model, message', [
    ('demo_faster_rcn', r"model 'demo_faster_rcn': .*did you mean small/demo_faster_rcnn_r2n26\.py"),
    ('imagenet_r2n50_26w4', r'did you mean classification/imagenet_r2n50_26w4s\.py'),
    ('demoo', "model 'demoo': there is no model of that name; did you mean demo\\?"),
    ('Res2Net50_26w4', "there is no model of that name; did you mean res2net50_26w4s or"),
    ('res2net_mm://res2net50_26w5s', 'there is no model of that name; did you mean res2net50_26w'),
    ('work_dirs/demoo.py', r"model 'work_dirs/demoo\.py': config .*work_dirs/demoo\.py does not exist"),
    ('mine.safetensors', "model 'mine.safetensors' is a checkpoint: name its config, .* with --checkpoint"),
    ('work_dirs/x/epoch_12.pth', 'is a checkpoint'),
    ('digits_r2n26', "'digits_r2n26': there are no public weights of it; name yours with --checkpoint FILE .*demo,"),
    ('', "model ''")])
def test_what_is_no_model(model, message):
    with pytest.raises(UserError, match=message):
        find_model(model)


def test_a_checkpoint_of_ones_own(tmp_path):
    assert files('digits_r2n26', 'mine.pth') == ('digits_r2n26.py', 'mine.pth')
    assert files('res2net50_26w4s', 'mine.pth') == ('imagenet_r2n50_26w4s.py', 'mine.pth')
    own = tmp_path / 'own.py'
    own.write_text("_base_ = 'res2net_mm::demo_classifier_r2n26.py'\n")
    assert files(str(own), 'mine.pth') == ('own.py', 'mine.pth')
    with pytest.raises(UserError, match='no public weights'):  # not those of its base
        find_model(str(own))
    name = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
    assert find_model(name, 'mine.pth').config == name
    assert find_model(str(CONFIGS / 'small' / 'digits_r2n26.py'), 'x').config == str(CONFIGS / 'small/digits_r2n26.py')
