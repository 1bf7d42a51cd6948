"""Public weights: every name leads to a file, offline files come first, and a dead host leaves clear ways out."""
import hashlib

import pytest
import torch
from helpers import ROOT

from res2net_mm import Res2Net
from res2net_mm.checkpoints import hub as weights
from res2net_mm.checkpoints.files import write_checkpoint

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
    row = weights.WEIGHTS['res2net50_26w4s']
    monkeypatch.setitem(weights.WEIGHTS, 'res2net50_26w4s', row._replace(urls=urls))


def test_every_row_is_complete():
    for name, row in weights.WEIGHTS.items():
        assert weights.full_name(name) == name
        assert row.urls and any(weights.digest(url) for url in row.urls)
        assert all(url.startswith('https://') and url.split('/')[2] in weights.LICENCES for url in row.urls)
        assert len({weights.digest(url) for url in row.urls if url.endswith('.pth')}) == 1, 'mirrors are the same file'
    assert all(weights.full_name(alias) == name for alias, name in weights.ALIASES.items())


@pytest.mark.parametrize('name', [name for name in weights.WEIGHTS if 'dla' not in name])
def test_arguments_are_those_of_the_preset(name):
    """The table's arguments build the architecture of its name."""
    from res2net_mm.checkpoints.convert import architecture, preset
    arguments = weights.WEIGHTS[name].arguments
    with torch.device('meta'):
        model = Res2Net(**eval(f'dict({arguments if "=" in arguments else ""})'))
    found = preset(architecture(model.state_dict()))
    renamed = {'res2net50-w14-s8_3rdparty_8xb32_in1k': 'res2net50_14w8s',
               'res2net50-w26-s8_3rdparty_8xb32_in1k': 'res2net50_26w8s',
               'res2net101-w26-s4_3rdparty_8xb32_in1k': 'res2net101_26w4s',
               'res2net101_v1d_26w_4s': 'res2net101_v1b_26w4s'}
    assert found == renamed.get(name, name)


@pytest.mark.parametrize('name, means', [
    ('res2net50_26w_4s', 'res2net50_26w4s'), ('Res2Net-50-26w-4s', 'res2net50_26w4s'),
    ('Res2Net-50', 'res2net50_26w4s'), ('res2net50d', 'res2net50_v1b_26w4s'),
    ('res2net101d', 'res2net101_v1b_26w4s'), ('Res2NeXt-50', 'res2next50_8c4w4s'), ('Res2Net-DLA-60', 'dla60_res2net'),
    ('res2net101_v1b_26w_4s', 'res2net101_v1b_26w4s'),
])
def test_aliases(name, means):
    assert weights.full_name(name) == means


def test_timm_knows_the_same_models():
    timm = pytest.importorskip('timm')
    for row in weights.WEIGHTS.values():
        for url in row.urls:
            if 'huggingface.co' in url:
                assert timm.get_pretrained_cfg(weights.file_name(url)[:-len('.safetensors')]).hf_hub_id


@pytest.mark.parametrize('file', [FILE, 'res2net50_26w_4s.in1k.safetensors'])
def test_the_users_folder_comes_first(file, home, tmp_path, monkeypatch):
    home.mkdir(parents=True)
    (home / FILE).write_text('not this one')
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
        weights.fetch('res2net50_26w4s')
    assert not list(home.rglob('*.pth'))


def test_unknown_and_unpublished_names():
    with pytest.raises(ValueError, match='no public weights of that name; there are res2net50_48w2s, res2net50_26w4s'):
        weights.fetch('res2net18')
    for name in ('SE-Res2Net-50', 'se_res2net50_26w4s'):
        with pytest.raises(ValueError, match='SE-Res2Net-50 .* never published'):
            weights.fetch(name)


def test_your_own_weights_serve_an_unpublished_name(tmp_path, monkeypatch):
    monkeypatch.setenv('RES2NET_MM_WEIGHTS', str(tmp_path))
    with pytest.raises(ValueError, match='as res2net50_18w6s.pth into the folder that RES2NET_MM_WEIGHTS names'):
        weights.fetch('res2net50_18w6s')
    (tmp_path / 'res2net50_18w6s.pth').write_bytes(b'mine')
    assert weights.fetch('res2net50_18w6s') == tmp_path / 'res2net50_18w6s.pth'


def test_mirrors_are_tried_and_damage_is_noticed(home, tmp_path, monkeypatch):
    good = b'the weights'
    name = f'w-{hashlib.sha256(good).hexdigest()[:8]}.pth'
    for host, content in (('a', b'not the weights'), ('b', good)):
        (tmp_path / host).mkdir()
        (tmp_path / host / name).write_bytes(content)
    served(monkeypatch, f'file://{tmp_path}/a/{name}')
    with pytest.raises(FileNotFoundError, match='invalid hash'):
        weights.fetch('res2net50_26w4s')
    assert not list(home.rglob('*.pth'))
    served(monkeypatch, f'file://{tmp_path}/a/{name}', f'file://{tmp_path}/b/{name}')
    assert weights.fetch('res2net50_26w4s').read_bytes() == good


def test_documentation_is_the_table():
    page = ROOT / 'docs' / 'weights.md'
    command = 'python -m res2net_mm.checkpoints.hub > docs/weights.md'
    assert page.read_text(encoding='utf-8') == weights.page() + '\n', command
