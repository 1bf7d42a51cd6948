"""Public weights: every name leads to a file, offline files come first, and a dead host leaves clear ways out."""
import hashlib
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from mmengine.runner import CheckpointLoader

from res2net_mm import Res2Net
from res2net_mm.checkpoints.files import write_checkpoint
from res2net_mm.checkpoints.hub import LICENCES, digest, file_name
from res2net_mm.models import names
from res2net_mm.models.pretrained import fetch_weights, find_weights, public_weights, read_weights

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
    rows = [replace(row, weights=(replace(row.weights[0], urls=urls, size=None), ))
            if row.name == 'res2net50_26w4s' else row
            for row in names.ARCHITECTURES]
    monkeypatch.setattr('res2net_mm.models.names.ARCHITECTURES', rows)
    monkeypatch.setattr('res2net_mm.models.pretrained.ARCHITECTURES', rows)


def test_every_row_is_complete():
    for name, row, weights in public_weights():
        assert find_weights(name) is weights and names.resolve(name) is row
        assert weights.urls and any(digest(url) for url in weights.urls)
        assert all(url.startswith('https://') and url.split('/')[2] in LICENCES for url in weights.urls)
        assert len({digest(url) for url in weights.urls if url.endswith('.pth')}) == 1, 'mirrors are the same file'
        assert all(find_weights(alias) is row.weights[0] for alias in row.aliases)


@pytest.mark.parametrize('name, means', [
    ('res2net50_26w_4s', 'res2net50_26w4s'), ('Res2Net-50-26w-4s', 'res2net50_26w4s'),
    ('Res2Net-50', 'res2net50_26w4s'), ('res2net50d', 'res2net50_v1b_26w4s'),
    ('res2net101d', 'res2net101_v1b_26w4s'), ('Res2NeXt-50', 'res2next50_8c4w4s'), ('Res2Net-DLA-60', 'dla60_res2net'),
    ('res2net101_v1b_26w_4s', 'res2net101_v1b_26w4s'),
])
def test_aliases(name, means):
    assert names.resolve(name).name == means and find_weights(name) is names.resolve(means).weights[0]


def test_timm_knows_the_same_models():
    timm = pytest.importorskip('timm')
    for _, _, weights in public_weights():
        for url in weights.urls:
            if 'huggingface.co' in url:
                assert timm.get_pretrained_cfg(file_name(url)[:-len('.safetensors')]).hf_hub_id


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
    with pytest.raises(ValueError, match='no public weights of that name; there are res2net50_48w2s, res2net50_26w4s'):
        fetch_weights('res2net18')
    for name in ('SE-Res2Net-50', 'se_res2net50_26w4s'):
        with pytest.raises(ValueError, match='SE-Res2Net-50 .* never published'):
            fetch_weights(name)


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
