"""``python -m res2net_mm.weights``: list, show, download and verify, with a message for every wrong use."""
import hashlib
import json
from dataclasses import replace

import pytest
import torch

from res2net_mm.checkpoints import trusted_hashes
from res2net_mm.checkpoints.files import write_checkpoint
from res2net_mm.checkpoints.weights import WeightFile, hashed_file
from res2net_mm.cli.weights import main
from res2net_mm.models import public_weights

NAME, OTHER = 'res2net50_26w4s', 'res2net50_14w8s'


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A folder as the host of two public weights: one named by its hash, one in safetensors format, without a hash."""
    for name in ('RES2NET_MM_WEIGHTS', 'HF_ENDPOINT'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    monkeypatch.setattr(trusted_hashes, 'COMMITTED', tmp_path / 'committed.json')
    folder = tmp_path / 'host' / 'own' / 'resolve' / 'main'
    folder.mkdir(parents=True)
    write_checkpoint({'w': torch.arange(9.)}, folder / 'net.pth')
    digest = hashlib.sha256((folder / 'net.pth').read_bytes()).hexdigest()
    (folder / 'net.pth').rename(folder / f'net-{digest[:8]}.pth')
    write_checkpoint({'w': torch.arange(9.)}, folder / 'model.safetensors')
    files = {NAME: hashed_file(f'file://{folder}/net-{digest[:8]}.pth'),
             OTHER: WeightFile(f'file://{folder}/model.safetensors')}
    rows = tuple(replace(row, files=(files[row.name], )) if row.name in files else row
                 for row in public_weights.WEIGHTS)
    monkeypatch.setattr(public_weights, 'WEIGHTS', rows)
    monkeypatch.setattr('res2net_mm.models.pretrained.WEIGHTS', rows)
    return folder


def fails(capsys, *arguments):
    """Run the command, which must end with exit code 1; what it has printed, and the error."""
    with pytest.raises(SystemExit) as stop:
        main([*map(str, arguments)])
    assert isinstance(stop.value.code, str)  # which Python prints, and ends with 1
    printed = capsys.readouterr()
    return printed.out, f'{printed.err}{stop.value.code}'


def named(folder):
    """The name of the file whose name has a hash."""
    [path] = folder.glob('net-*.pth')
    return path.name


def test_list_and_show(host, tmp_path, capsys):
    main(['download', NAME])
    capsys.readouterr()
    main(['list'])
    table = capsys.readouterr().out
    assert all(weights.name in table for weights in public_weights.WEIGHTS)
    assert f'{NAME}: {tmp_path}' in table and '8 digits of a' in table and 'CC BY-NC-SA' in table
    main(['show', 'Res2Net-50'])
    shown = capsys.readouterr().out
    for part in (f'res2net_mm://{NAME}', 'always', 'stated by the authors for their code', '22.01 / 6.15',
                 '224² from 256', f'{host}/{named(host)}', f'hub/checkpoints/{named(host)}'):
        assert part in shown, shown


def test_download_goes_on_after_one_that_fails(host, tmp_path, capsys):
    out, error = fails(capsys, 'download', 'nonsense', NAME, 'SE-Res2Net-50', OTHER, '--to', tmp_path / 'a' / 'b')
    assert out.splitlines()[-1] == str(tmp_path / 'a' / 'b' / 'own.safetensors')
    assert (tmp_path / 'a' / 'b' / named(host)).read_bytes() == (host / named(host)).read_bytes()
    assert (tmp_path / 'a' / 'b' / 'own.safetensors').read_bytes() == (host / 'model.safetensors').read_bytes()
    assert 'nonsense: no public weights of that name' in error and NAME in error and 'were never published' in error
    assert error.endswith('2 of 4 could not be fetched: nonsense, SE-Res2Net-50')


def test_what_only_a_person_can_fetch(host, capsys):
    main(['show', 'res2net152_v1b'])
    page = next(line.split()[-1] for line in capsys.readouterr().out.splitlines() if line.startswith('by hand'))
    _, error = fails(capsys, 'download', 'res2net152_v1b')
    assert f'no host gives these weights to a program; fetch them with a browser from {page}' in error


def test_downloaded_folders_serve_without_a_network(host, tmp_path, monkeypatch, capsys):
    main(['download', NAME, OTHER, '--to', str(tmp_path / 'mine')])
    monkeypatch.setenv('RES2NET_MM_WEIGHTS', str(tmp_path / 'mine'))
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'another'))
    for path in host.iterdir():
        path.unlink()
    main(['download', NAME, OTHER])
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / 'mine' / 'own.safetensors')


def test_a_target_that_is_no_folder(host, tmp_path, capsys):
    file = tmp_path / 'file'
    file.write_text('')
    assert f"--to: '{file}' is not a folder" in fails(capsys, 'download', NAME, '--to', file)[1]
    assert f"'{file}' is not a folder" in fails(capsys, 'verify', file)[1]
    assert f"folder '{tmp_path / 'gone'}' does not exist" in fails(capsys, 'verify', tmp_path / 'gone')[1]
    assert 'there are no public weights in' in fails(capsys, 'verify', tmp_path)[1]


def test_a_new_file_is_taken_up_only_when_asked_to(host, tmp_path, capsys):
    main(['download', OTHER])
    [path] = (tmp_path / 'home').rglob('own.safetensors')
    path.unlink()
    write_checkpoint({'w': torch.zeros(9)}, host / 'model.safetensors', force=True)
    error = fails(capsys, 'download', OTHER)[1]
    assert f'accept it: python -m res2net_mm.weights download {OTHER} --trust-new' in error
    assert not path.exists()
    main(['download', OTHER, '--trust-new'])
    main(['download', OTHER])
    assert path.read_bytes() == (host / 'model.safetensors').read_bytes()


def test_verify(host, tmp_path, monkeypatch, capsys):
    main(['download', NAME, OTHER, '--to', str(tmp_path / 'mine')])
    (tmp_path / 'mine' / 'notes.txt').write_text('')
    capsys.readouterr()
    main(['verify', str(tmp_path / 'mine')])
    assert capsys.readouterr().out.splitlines() == [
        f'ok            {named(host)}: SHA-256 as recorded at its first use here', 'unknown       notes.txt',
        'ok            own.safetensors: SHA-256 as recorded at its first use here']
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'another'))
    main(['verify', str(tmp_path / 'mine')])
    assert capsys.readouterr().out.splitlines() == [
        f'not recorded  {named(host)}: 8 digits of SHA-256 right', 'unknown       notes.txt',
        'not recorded  own.safetensors: format right']
    (tmp_path / 'mine' / named(host)).write_bytes((host / named(host)).read_bytes()[:-9] + bytes(9))
    out, error = fails(capsys, 'verify', tmp_path / 'mine')
    assert out.startswith(f'wrong         {named(host)}: another file: its SHA-256 begins with')
    assert f"1 wrong in '{tmp_path / 'mine'}': {named(host)}" in error


def test_record(host, tmp_path, monkeypatch, capsys):
    """What has a right hash from elsewhere is recorded; what is right by its format alone is not."""
    main(['download', NAME, OTHER, '--to', str(tmp_path / 'mine')])
    first_home = tmp_path / 'home'
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'another'))
    main(['verify', str(tmp_path / 'mine'), '--record'])
    assert f'Recorded: {named(host)}\nNot recorded: own.safetensors; no hash' in capsys.readouterr().out
    monkeypatch.setenv('TORCH_HOME', str(first_home))
    main(['verify', str(tmp_path / 'mine'), '--record'])
    assert 'Recorded: own.safetensors\n' in capsys.readouterr().out
    recorded = json.loads(trusted_hashes.COMMITTED.read_text())
    assert {name: entry['sha256'] for name, entry in recorded.items()} == {
        name: hashlib.sha256((tmp_path / 'mine' / name).read_bytes()).hexdigest()
        for name in (named(host), 'own.safetensors')}
    main(['verify', str(tmp_path / 'mine'), '--record'])
    assert 'Recorded: nothing new' in capsys.readouterr().out


def test_a_recorded_hash_is_never_overwritten(host, tmp_path, monkeypatch, capsys):
    main(['download', OTHER, '--to', str(tmp_path / 'mine')])
    main(['verify', str(tmp_path / 'mine'), '--record'])
    before = trusted_hashes.COMMITTED.read_bytes()
    write_checkpoint({'w': torch.zeros(9)}, tmp_path / 'mine' / 'own.safetensors', force=True)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'another'))
    assert '1 wrong in' in fails(capsys, 'verify', tmp_path / 'mine', '--record')[1]
    assert trusted_hashes.COMMITTED.read_bytes() == before
    write_checkpoint({'w': torch.zeros(9)}, host / 'model.safetensors', force=True)
    error = fails(capsys, 'download', OTHER, '--trust-new')[1]
    assert 'another file' in error and '--trust-new' not in error, 'nothing overrules the hashes of the project'
