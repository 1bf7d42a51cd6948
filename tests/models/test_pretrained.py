"""Public weights: every name leads to a file, offline files come first, and a dead host leaves clear ways out."""
import hashlib
import logging
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mmengine.runner import CheckpointLoader, load_checkpoint

from res2net_mm import DLA, Res2Net, load_config
from res2net_mm.checkpoints.files import write_checkpoint
from res2net_mm.checkpoints.weights import HASH_IN_NAME, WeightFile, hashed_file
from res2net_mm.models import names
from res2net_mm.models.pretrained import fetch_weights, find_weights, read_weights
from res2net_mm.models.public_weights import BY_HAND, WEIGHTS

FILE = 'res2net50_26w_4s-06e79181.pth'
SMALL = dict(depth=26, base_channels=8)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty cache, and no folder of the user's."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    monkeypatch.delenv('RES2NET_MM_WEIGHTS', raising=False)
    return tmp_path / 'home' / 'hub' / 'checkpoints'


def served(monkeypatch, *urls):
    """Let the weights of Res2Net-50 26w4s be at these addresses only."""
    files = tuple(hashed_file(url) if HASH_IN_NAME.search(url) else WeightFile(url) for url in urls)
    rows = [replace(row, files=files) if row.name == 'res2net50_26w4s' else row for row in WEIGHTS]
    monkeypatch.setattr('res2net_mm.models.pretrained.WEIGHTS', rows)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Weights of a small Res2Net, as the user's file for any name."""
    folder = tmp_path / 'own'
    folder.mkdir()
    monkeypatch.setenv('RES2NET_MM_WEIGHTS', str(folder))
    weights = Res2Net(**SMALL).state_dict()

    def put(name, **outer):
        write_checkpoint({**{f'backbone.{key}' if outer else key: value for key, value in weights.items()}, **outer},
                         folder / f'{name}.pth')
        return f'res2net_mm://{name}'

    return put


@pytest.fixture
def warnings(monkeypatch):
    """What the log says of functions."""
    said = []
    monkeypatch.setattr('res2net_mm.checkpoints.loading.print_log', lambda message, logger, level=logging.INFO:
                        said.append(message) if level == logging.WARNING else None)
    return said


@pytest.mark.parametrize('name, means', [
    ('res2net50_26w_4s', 'res2net50_26w4s'), ('Res2Net-50-26w-4s', 'res2net50_26w4s'),
    ('Res2Net-50', 'res2net50_26w4s'), ('res2net50d', 'res2net50_v1b_26w4s'),
    ('res2net101d', 'res2net101_v1b_26w4s'), ('Res2NeXt-50', 'res2next50_8c4w4s'), ('Res2Net-DLA-60', 'dla60_res2net'),
    ('res2net101_v1b_26w_4s', 'res2net101_v1b_26w4s'),
])
def test_aliases(name, means):
    assert names.resolve(name).name == means and find_weights(name) is find_weights(means)
    assert find_weights(name).name == means


@pytest.mark.parametrize('file', ['weights.pth', 'weights.safetensors'])
def test_the_users_folder_comes_first(file, home, tmp_path, monkeypatch):
    served(monkeypatch, f'http://127.0.0.1:9/{file}')
    home.mkdir(parents=True)
    (home / file).write_text('not this one')
    state = Res2Net(**SMALL).state_dict()
    (tmp_path / 'mine').mkdir()
    write_checkpoint({**state, 'fc.weight': torch.ones(10, 256), 'fc.bias': torch.ones(10)}, tmp_path / 'mine' / file)
    monkeypatch.setenv('RES2NET_MM_WEIGHTS', str(tmp_path / 'mine'))
    model = Res2Net(**SMALL, init_cfg=dict(type='Pretrained', checkpoint='res2net_mm://res2net50_26w4s'))
    model.init_weights()
    assert torch.equal(model.layer4[1].conv3.weight, state['layer4.1.conv3.weight'])


def test_unreachable_weights_say_what_to_do(home, monkeypatch):
    served(monkeypatch, f'http://127.0.0.1:9/{FILE}')
    with pytest.raises(FileNotFoundError, match=rf'(?s)could not be had.*refused.*fetch {FILE}.*_WEIGHTS.*init_cfg'):
        fetch_weights('res2net50_26w4s')
    assert not list(home.rglob('*.pth'))


def test_unknown_and_unpublished_names():
    with pytest.raises(ValueError, match='no public weights of that name; .*there are res2net50_48w2s, res2net50_26w4'):
        fetch_weights('res2net18')
    for name in ('SE-Res2Net-50', 'se_res2net50_26w4s'):
        with pytest.raises(ValueError, match='SE-Res2Net-50 .* never published'):
            fetch_weights(name)


@pytest.mark.parametrize('name, meant', [
    ('res2net50_vd_sld', 'res2net50_vd_ssld or'), ('faster_rcnn_r2n101_coco', 'faster_rcnn_r2n101_v1b_coco'),
    ('res2net50_26w_7s', 'res2net50_26w.s or'), ('xyz', '')])
def test_unknown_names_and_those_near(name, meant):
    words = f'did you mean {meant}.* there are' if meant else 'there are'
    with pytest.raises(ValueError, match=f'^res2net_mm://{name}: no public weights of that name; {words} res2net50_4'):
        find_weights(name)


@pytest.mark.parametrize('config', ['demo_classifier_r2n26', 'demo_deeplabv3plus_r2n26'])
def test_configs_that_start_from_weights_of_the_package_find_them_anywhere(config, home, tmp_path, monkeypatch):
    backbone = load_config(f'res2net_mm::{config}.py').model.backbone
    monkeypatch.chdir(tmp_path)
    model = Res2Net(**{key: value for key, value in backbone.items() if key != 'type'})
    model.init_weights()
    detector = read_weights('res2net_mm://demo_faster_rcnn_r2n26')['state_dict']
    assert torch.equal(model.state_dict()['layer4.0.conv1.weight'], detector['backbone.layer4.0.conv1.weight'].float())


def test_a_file_of_the_user_comes_before_that_of_the_package(own):
    own('demo_faster_rcnn_r2n26')
    assert fetch_weights('demo_faster_rcnn_r2n26').suffix == '.pth'


@pytest.mark.parametrize('weights', BY_HAND, ids=lambda weights: weights.name)
def test_what_only_a_person_can_fetch(weights, own):
    page = re.escape(weights.page)
    with pytest.raises(ValueError, match=f'with a browser from {page}, and put them as {weights.name}.pth into the'):
        fetch_weights(weights.name.upper())
    own(weights.name)
    for name in (weights.name, weights.name.upper()):
        assert fetch_weights(name).name == f'{weights.name}.pth'


@pytest.mark.parametrize('name, stage_pool, warns', [
    ('res2net50_26w4s', 'always', False), ('Res2Net-50', 'strided', True),
    ('res2net50_vd_ssld', 'strided_hierarchical', False), ('res2net50_26w4s_paddle', 'always', True),
    ('faster_rcnn_r2n101_v1b_coco', 'strided', False), ('faster_rcnn_r2n101_v1b_coco', 'always', True),
    ('mine', 'strided', False)])
def test_weights_of_another_function_are_said_to_be_that(name, stage_pool, warns, own, warnings):
    """Once for each load, whichever way they come, in a backbone or in a whole model; never those of the user's own."""
    model = Res2Net(**SMALL, stage_pool=stage_pool, init_cfg=dict(type='Pretrained', checkpoint=own(name)))
    model.init_weights()
    published = find_weights(name) if name != 'mine' else None
    for loaded in range(1, 4):
        assert len(warnings) == loaded * warns
        for message in warnings:
            assert message.startswith(f'res2net_mm://{published.name}: these weights were')
            assert f"trained as stage_pool='{published.stage_pool}'" in message
            assert f"Res2Net-26 26w4s computes stage_pool='{stage_pool}'" in message
            assert f"Set stage_pool='{published.stage_pool}'" in message
        if loaded == 1:
            model.load_state_dict(read_weights(f'res2net_mm://{name}'))
        elif loaded == 2:
            whole = torch.nn.Module()
            whole.backbone, whole.head = model, torch.nn.Linear(2, 2)
            (Path(os.environ['RES2NET_MM_WEIGHTS']) / f'{name}.pth').unlink()
            source = own(name, **{'head.weight': torch.ones(2, 2), 'head.bias': torch.ones(2)})
            load_checkpoint(whole, source, strict=True)
    assert torch.equal(whole.head.weight, torch.ones(2, 2))


def test_a_trunk_without_a_choice_has_no_warning(tmp_path, monkeypatch, warnings):
    monkeypatch.setenv('RES2NET_MM_WEIGHTS', str(tmp_path))
    model = DLA(arch='dla60_res2net')
    write_checkpoint(model.state_dict(), tmp_path / 'dla60_res2net.pth')
    model.load_state_dict(read_weights('res2net_mm://dla60_res2net'))
    assert warnings == []


def test_a_file_of_another_variant_under_a_name(tmp_path, monkeypatch):
    """It is said which weights were asked for, what the file holds, and what it was to go into."""
    monkeypatch.setenv('RES2NET_MM_WEIGHTS', str(tmp_path))
    write_checkpoint(Res2Net(depth=26).state_dict(), tmp_path / 'res2net50_14w8s.pth')
    model = Res2Net(depth=26, base_width=14, scales=8,
                    init_cfg=dict(type='Pretrained', checkpoint='res2net_mm://res2net50_14w8s'))
    with pytest.raises(ValueError, match=(
            r'^res2net_mm://res2net50_14w8s: The checkpoint of a Res2Net-26 26w4s \(7x7 stem\) does not fit '
            r'Res2Net-26 14w8s \(7x7 stem\), nothing was loaded. Keys .*\(104, 64, 1, 1\) instead of \(112, 64, 1,')):
        model.init_weights()


def test_your_own_weights_serve_an_unpublished_name(tmp_path, monkeypatch):
    monkeypatch.setenv('RES2NET_MM_WEIGHTS', str(tmp_path))
    with pytest.raises(ValueError, match='as res2net50_18w6s.pth into the folder that RES2NET_MM_WEIGHTS names'):
        fetch_weights('res2net50_18w6s')
    write_checkpoint({'w': torch.ones(1)}, tmp_path / 'res2net50_18w6s.pth')
    assert fetch_weights('res2net50_18w6s') == tmp_path / 'res2net50_18w6s.pth'


def test_mirrors_are_tried_and_damage_is_noticed(home, tmp_path, monkeypatch):
    good = b'the weights'
    name = f'w-{hashlib.sha256(good).hexdigest()[:8]}.pth'
    for host, content in (('a', b'not the weights'), ('b', good)):
        (tmp_path / host).mkdir()
        (tmp_path / host / name).write_bytes(content)
    served(monkeypatch, f'file://{tmp_path}/a/{name}')
    with pytest.raises(FileNotFoundError, match='its SHA-256 begins with [0-9a-f]{8} instead of'):
        fetch_weights('res2net50_26w4s')
    assert not list(home.rglob('*.pth'))
    served(monkeypatch, f'file://{tmp_path}/a/{name}', f'file://{tmp_path}/b/{name}')
    assert fetch_weights('res2net50_26w4s').read_bytes() == good


def test_read_weights_from_anywhere(tmp_path, monkeypatch):
    """A path, a pathlib path, a name and an address."""
    monkeypatch.setenv('RES2NET_MM_WEIGHTS', str(tmp_path))
    write_checkpoint({'w': torch.ones(2)}, tmp_path / 'own.pth')
    for source in (tmp_path / 'own.pth', str(tmp_path / 'own.pth'), 'res2net_mm://own'):
        assert torch.equal(read_weights(source)['w'], torch.ones(2))


def test_pretrained_reads_as_we_do_wherever_it_stands(tmp_path):
    """In a list, before others, as a pathlib path, with a prefix; mmengine's reader stays what it is."""
    state = Res2Net(**SMALL).state_dict()
    write_checkpoint({f'model.{key}': value for key, value in state.items()}, tmp_path / 'a.safetensors')
    for path in (tmp_path / 'a.safetensors', str(tmp_path / 'a.safetensors')):
        init_cfg = [dict(type='Pretrained', checkpoint=path, prefix='model'),
                    dict(type='Constant', val=1, layer='Conv2d')]
        model = Res2Net(**SMALL, init_cfg=init_cfg)
        model.init_weights()
        assert model.init_cfg == init_cfg
        assert torch.equal(model.layer4[1].conv3.weight, state['layer4.1.conv3.weight'])
    assert CheckpointLoader._schemes[''].__module__ == 'mmengine.runner.checkpoint'


# What mmengine has before and after an import of our models, in a process of its own.
EFFECTS = """
import inspect
from mmengine import Config
from mmengine.runner import CheckpointLoader
def state():
    return dict(CheckpointLoader._schemes), {name: value for name, value in vars(Config).items()}
schemes, config = state()
import res2net_mm.models
after, config_after = state()
assert {name: after.pop(name).__module__ for name in set(after) - set(schemes)} == {
    'res2net_mm://': 'res2net_mm.models.pretrained'}
assert after == schemes and config_after == config
"""


def test_importing_the_models_changes_nothing_but_one_scheme():
    subprocess.run([sys.executable, '-c', EFFECTS], check=True)
