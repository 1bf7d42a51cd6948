"""Publications pushed to a stand-in for the hub: complete, or a message that says why not."""

import pytest
import torch
from hub_api import hub  # noqa: F401

from res2net_mm import Res2Net
from res2net_mm.checkpoints import pushing
from res2net_mm.checkpoints.files import write_checkpoint
from res2net_mm.checkpoints.pushing import PushError, check_push, push_folder, resolve_url
from res2net_mm.models.pretrained import read_weights

REPOSITORY = 'somebody/a-model'
TINY = dict(depth=26, base_channels=8, num_stages=1, strides=(1, ), dilations=(1, ), out_indices=(0, ))


@pytest.fixture
def folder(tmp_path):
    """A publication, with a file that the hub takes as it is and one that goes to its storage."""
    folder = tmp_path / 'published'
    folder.mkdir()
    weights = dict(Res2Net(**TINY).state_dict(), padding=torch.ones(1 << 16))
    write_checkpoint(dict(meta=dict(dataset_meta=dict(classes=('a', 'b'))), state_dict=weights),
                     folder / 'a-01234567.safetensors')
    (folder / 'README.md').write_text('---\nlicense: mit\n---\n# a model\n')
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_pushed_and_loaded_again(hub, folder, tmp_path, monkeypatch):  # noqa: F811
    push_folder(folder, REPOSITORY, private=True)
    assert hub.repositories == {REPOSITORY: dict(private=True, files=contents(folder))}
    assert len(hub.stored) == 1  # the weights went another way than the card

    push_folder(folder, REPOSITORY, private=True)  # again, into what is there
    assert hub.repositories[REPOSITORY]['files'] == contents(folder)

    monkeypatch.setattr(torch.hub, '_hub_dir', str(tmp_path / 'cache'))
    loaded = read_weights(resolve_url(REPOSITORY, 'a-01234567.safetensors'))
    assert loaded['meta']['dataset_meta'] == dict(classes=('a', 'b'))
    weights = Res2Net(**TINY, init_cfg=dict(
        type='Pretrained', checkpoint=resolve_url(REPOSITORY, 'a-01234567.safetensors')))
    loaded['state_dict'].pop('padding')
    assert loaded['state_dict'].keys() == weights.state_dict().keys()


def test_a_public_repository_is_not_private(hub, folder):  # noqa: F811
    push_folder(folder, REPOSITORY)
    (folder / 'README.md').write_text('secret')
    with pytest.raises(PushError, match='is public already, and --private was given; nothing was pushed'):
        push_folder(folder, REPOSITORY, private=True)
    assert b'secret' not in hub.repositories[REPOSITORY]['files'].values()


@pytest.mark.parametrize('where, fault, message', [
    ('/create', 401, 'does not accept the token'),
    ('/create', 403, 'the token may not write there'),
    ('/create', 500, 'answered 500'),
    ('/create', 'cut', 'disconnected'),
    ('/preupload/main', 404, 'no such repository'),
    ('/batch', 403, 'the token may not write there'),
    ('/commit/main', 403, 'the token may not write there'),
    ('/commit/main', 500, 'answered 500'),
    ('/commit/main', 'cut', 'disconnected'),
    ('/preupload/main', 'stall', 'timed out'),
])
def test_refused(where, fault, message, hub, folder, monkeypatch):  # noqa: F811
    monkeypatch.setattr(pushing, 'SILENCE', 0.3)
    before = contents(folder)
    hub.faults[where] = fault
    with pytest.raises(PushError, match=message) as error:
        push_folder(folder, REPOSITORY)
    assert f"'{folder}' is complete; the same command pushes it again" in str(error.value)
    assert contents(folder) == before
    assert not hub.repositories.get(REPOSITORY, dict(files={}))['files']


def test_cannot_be_tried(monkeypatch):
    hub_library = pytest.importorskip('huggingface_hub')
    monkeypatch.setattr(hub_library, 'get_token', lambda: None)
    with pytest.raises(PushError, match='no token; log in with: hf auth login, or set HF_TOKEN'):
        check_push(REPOSITORY)
    for name in ('a-model', 'a/b/c', 'some body/a', 'a/-b'):
        with pytest.raises(PushError, match=f'--push {name}: '):
            check_push(name)
    monkeypatch.setattr(hub_library, 'get_token', lambda: 'hf_')
    check_push(REPOSITORY)
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    with pytest.raises(PushError, match='HF_HUB_OFFLINE forbids'):
        check_push(REPOSITORY)
    monkeypatch.setitem(__import__('sys').modules, 'huggingface_hub', None)
    with pytest.raises(PushError, match='pip install huggingface_hub'):
        check_push(REPOSITORY)
