"""Rows of tables trained and tested: one for real, the others with tools/train.py and tools/test.py played."""
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from helpers import TOOLS
from mmengine.config import Config
from result_cases import TINY, command, read_lines

from res2net_mm import load_config
from res2net_mm.cli import reproduce
from res2net_mm.datasets.shapes import write_shapes
from res2net_mm.reproduction import runs
from res2net_mm.reproduction.plans import RowError, RunSettings
from res2net_mm.reproduction.results import newest_result, read_results
from res2net_mm.reproduction.tables import read_tables


@pytest.mark.slow
def test_train_test_and_resume(folder, monkeypatch, capsys):
    pytest.importorskip('mmdet')
    write_shapes(folder / 'data', train=6, val=3)
    arguments = command(folder, '--schedule', 'smoke', '--data', str(folder / 'data'))
    first = subprocess.run([sys.executable, TOOLS / 'reproduce.py', *arguments], capture_output=True,
                           text=True, cwd=folder)
    assert first.returncode == 1, first.stderr[-2000:]  # one row has no config file; the other's result is kept
    assert re.search(r'FAILED shapes/r50: .*missing.py.* does not exist', first.stderr)
    assert '1 of 2 rows failed' in first.stderr and 'no config yet for later' in first.stdout
    [record] = read_lines(folder)
    assert [record[key] for key in ('table', 'row', 'config', 'schedule')] == ['shapes', 'r2n26', 'tiny.py', 'smoke']
    assert record['data'] == str(folder / 'data') and record['seed'] == 3 and record['batch_size'] == 2
    assert record['train']['seconds'] > 0 and record['test']['seconds'] > 0 and record['train']['attempts'] == 1
    assert record['train']['device'] and record['train']['devices'] == 1 and record['train']['torch'][0].isdigit()
    assert set(record['measured']) >= {'box_ap', 'box_ap50'} and record['paper'] == {'box_ap': 33.7, 'box_ap50': 53.6}
    assert 'NOT comparable' in first.stdout and '33.7' in first.stdout
    work_dir = next((folder / 'out' / 'smoke').iterdir())
    assert len(list(work_dir.glob('*.pth'))) == 1

    monkeypatch.setattr(subprocess, 'call', lambda command: pytest.fail(f'ran {command}'))
    reproduce.main([*arguments, '--rows', 'r2n26'])
    printed = capsys.readouterr().out
    assert 'trained already' in printed and 'tested already' in printed
    assert read_lines(folder) == [record]

    # Another option is another training, in a folder of its own; a dry run makes nothing of it.
    reproduce.main([*arguments, '--rows', 'r2n26', '--dry-run', '--cfg-options', 'randomness.seed=4'])
    printed = capsys.readouterr().out
    assert len(re.findall('tools/(?:train|test).py .*randomness.seed=4', printed)) == 2
    assert list((folder / 'out' / 'smoke').iterdir()) == [work_dir] and read_lines(folder) == [record]


def test_row_by_row(folder, played, capsys):
    reproduce.main(command(folder))
    assert [record['row'] for record in read_lines(folder)] == ['r50', 'r2n26']
    assert read_lines(folder)[0]['measured'] == {'box_ap': 34.5, 'box_ap50': 50.0, 'box_ap_small': None}
    assert [Path(part[1]).name for part in played.commands] == ['train.py', 'test.py'] * 2
    train, test = played.commands[:2]
    assert Path(train[2]) == folder / 'missing.py' and '--resume' in train  # the full schedule is the config itself
    assert test[3].endswith('iter_600.pth')
    assert 'NOT comparable' not in capsys.readouterr().out

    reproduce.main(command(folder))
    assert len(played.commands) == 4 and len(read_lines(folder)) == 2
    (folder / 'tiny.py').write_text(TINY + 'train_cfg = dict(max_iters=500)\n')
    reproduce.main(command(folder))
    assert len(played.commands) == 6 and len(read_lines(folder)) == 3  # a config that changed is another experiment


def test_several_gpus(folder, played):
    reproduce.main(command(folder, '--rows', 'r50', '--gpus', '4', '--cfg-options', 'randomness.seed=1'))
    train = ' '.join(played.commands[0])
    assert '-m torch.distributed.run --standalone --nproc_per_node=4' in train and '--launcher pytorch' in train
    assert train.endswith('--cfg-options randomness.seed=1')
    assert read_lines(folder)[0]['train']['devices'] == 4 and read_lines(folder)[0]['batch_size'] == 4 * 8


def test_a_test_on_other_devices_than_the_training(folder, played, capsys):
    """The batch is that of the training, whatever tests later; alone, or right after it."""
    played.log = {}
    with pytest.raises(SystemExit, match='has no coco/bbox_mAP'):
        reproduce.main(command(folder, '--rows', 'r50', '--gpus', '8'))
    played.log = {'coco/bbox_mAP': 0.345, 'coco/bbox_mAP_50': 0.5}
    reproduce.main(command(folder, '--rows', 'r50', '--gpus', '8', '--test-gpus', '1'))
    [record] = read_lines(folder)
    assert (record['batch_size'], record['train']['devices'], record['test']['devices']) == (64, 8, 1)
    assert (record['train']['batch_size'], record['train']['attempts']) == (64, 1)
    assert 'nproc_per_node' not in ' '.join(played.commands[-1]) and 'nproc_per_node=8' in ' '.join(played.commands[0])

    # The same batch on one device is the same run, and keeps what it was trained with.
    (folder / 'out' / 'results.jsonl').unlink()
    reproduce.main(command(folder, '--rows', 'r50', '--cfg-options', 'train_dataloader.batch_size=64'))
    [record] = read_lines(folder)
    assert (record['batch_size'], record['train']['devices'], record['test']['devices']) == (64, 8, 1)
    assert 'trained already' in capsys.readouterr().out


def test_the_batch_in_a_result_is_that_of_its_training(folder, played):
    """Interrupted between training and test, and taken up with another number of devices."""
    played.log = {}
    with pytest.raises(SystemExit, match='has no coco/bbox_mAP'):
        reproduce.main(command(folder, '--rows', 'r50', '--gpus', '8'))
    played.log = {'coco/bbox_mAP': 0.345, 'coco/bbox_mAP_50': 0.5}
    reproduce.main(command(folder, '--rows', 'r50'))
    [record] = read_lines(folder)
    assert record['batch_size'] == 8 * record['train']['devices']


def test_another_batch_is_another_run(folder, played, capsys):
    reproduce.main(command(folder, '--rows', 'r50', '--gpus', '8'))
    capsys.readouterr()
    reproduce.main(command(folder, '--rows', 'r50'))
    printed = capsys.readouterr().out
    assert 'was trained on 8 devices with batch 64: this run, with batch 8, is another one and starts anew' in printed
    assert 'give --gpus 8, with --test-gpus for its test' in printed
    assert [record['batch_size'] for record in read_lines(folder)] == [64, 8]
    assert len({record['config_hash'] for record in read_lines(folder)}) == 2


def test_the_same_data_elsewhere_is_the_same_run(folder, played, capsys):
    for data in ('first', 'second'):
        reproduce.main(command(folder, '--rows', 'r50', '--data', str(folder / data)))
    assert len(read_lines(folder)) == 1 and len(played.commands) == 2
    printed = capsys.readouterr().out
    assert f'the data in {folder}/first, taken for that in {folder}/second' in printed


def interrupted(folder, played, *arguments):
    """A training that has saved a checkpoint when it fails; its folder."""
    played.exit_codes = [1]
    with pytest.raises(SystemExit):
        reproduce.main(command(folder, '--rows', 'r50', *arguments))
    [work_dir] = (folder / 'out' / 'full').iterdir()
    (work_dir / 'last_checkpoint').write_text(str(work_dir / 'iter_300.pth'))
    return work_dir


def test_an_interrupted_training_on_another_number_of_devices(folder, played, capsys):
    """With the same batch over all it is refused; with another one it is another run, and said to be."""
    work_dir = interrupted(folder, played, '--gpus', '8')
    with pytest.raises(SystemExit, match='begun on 8 devices with batch 64, and cannot go on on 1: give --gpus 8'):
        reproduce.main(command(folder, '--rows', 'r50', '--cfg-options', 'train_dataloader.batch_size=64'))
    assert len(played.commands) == 1
    reproduce.main(command(folder, '--rows', 'r50', '--gpus', '4'))
    assert f'{work_dir} was begun on 8 devices with batch 64: this run, with batch 32' in capsys.readouterr().out
    reproduce.main(command(folder, '--rows', 'r50', '--gpus', '8'))
    assert [record['train']['attempts'] for record in read_lines(folder)] == [1, 2]
    (work_dir / 'attempts.json').unlink()
    with pytest.raises(SystemExit, match='has a checkpoint and no attempts.json, so nobody knows'):
        reproduce.main(command(folder, '--rows', 'r50', '--gpus', '8'))


def test_without_a_checkpoint_there_is_nothing_to_go_on_with(folder, played):
    work_dir = interrupted(folder, played, '--gpus', '8')
    (work_dir / 'last_checkpoint').unlink()
    reproduce.main(command(folder, '--rows', 'r50', '--cfg-options', 'train_dataloader.batch_size=64'))
    [record] = read_lines(folder)
    assert record['train']['devices'] == 1 and record['batch_size'] == 64


def test_a_training_that_is_killed_has_written_down_what_it_began_with(folder, played, monkeypatch):
    class Killed(BaseException):
        """As if nothing of this process were run any more."""

    written = []

    def kill(command):
        [path] = (folder / 'out' / 'full').glob('*/attempts.json')
        written.append(json.loads(path.read_text()))
        raise Killed

    monkeypatch.setattr(subprocess, 'call', kill)
    with pytest.raises(Killed):
        reproduce.main(command(folder, '--rows', 'r50', '--gpus', '8'))
    [[attempt]] = written
    assert (attempt['devices'], attempt['batch_size'], attempt['finished']) == (8, 64, False)


@pytest.mark.parametrize('attempts', [None, '[{"date": "2026-01-01", "devices": 8, "finished": true}]'])
def test_a_training_of_an_older_version(attempts, folder, played, capsys):
    """It is left alone, and said to be."""
    older = folder / 'out' / 'full' / 'missing-0123456789ab'
    older.mkdir(parents=True)
    (older / 'last_checkpoint').write_text(str(older / 'iter_600.pth'))
    if attempts:
        (older / 'attempts.json').write_text(attempts)
    reproduce.main(command(folder, '--rows', 'r50'))
    assert f'{older} is of an older version' in capsys.readouterr().out
    assert read_lines(folder)[0]['batch_size'] == 8 and len(played.commands) == 2
    assert str(older) not in str(played.commands)


def test_failed_row_leaves_the_others(folder, played, capsys):
    played.exit_codes = [1, 0]
    with pytest.raises(SystemExit) as stop:
        reproduce.main(command(folder))
    assert 'shapes/r50: tools/train.py ended with exit code 1' in str(stop.value.code)
    assert [record['row'] for record in read_lines(folder)] == ['r2n26']
    reproduce.main(command(folder))  # goes on where it stopped
    assert [record['row'] for record in read_lines(folder)] == ['r2n26', 'r50']
    assert read_lines(folder)[1]['train']['attempts'] == 2

    played.exit_codes, played.commands[:] = [1, 0], []
    with pytest.raises(SystemExit):
        reproduce.main(command(folder, '--schedule', 'short', '--stop-on-error'))
    assert len(played.commands) == 1


def test_interrupted_training_goes_on(folder, played, monkeypatch):
    play = subprocess.call

    def interrupt(command):
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, 'call', interrupt)
    with pytest.raises(SystemExit, match='the same command goes on from the last checkpoint'):
        reproduce.main(command(folder))
    monkeypatch.setattr(subprocess, 'call', play)
    reproduce.main(command(folder))
    assert [record['train']['attempts'] for record in read_lines(folder)] == [2, 1]


def test_table_without_configs(folder, played):
    text = (folder / 'tables.yml').read_text()
    (folder / 'tables.yml').write_text(re.sub('config: [^,]*, ', '', text))
    with pytest.raises(SystemExit, match='no config yet for r50, r2n26, later'):
        reproduce.main(command(folder))
    assert not played.commands


def test_number_that_the_test_does_not_report(folder, played):
    played.log = {'coco/bbox_mAP': 0.3}
    with pytest.raises(SystemExit, match='has no coco/bbox_mAP_50; it has coco/bbox_mAP'):
        reproduce.main(command(folder, '--rows', 'r50'))
    assert not (folder / 'out' / 'results.jsonl').exists()


@pytest.mark.slow
def test_missing_data_names_the_row(folder):
    pytest.importorskip('mmdet')
    arguments = command(folder, '--rows', 'r2n26', '--data', str(folder / 'nowhere'))
    result = subprocess.run([sys.executable, TOOLS / 'reproduce.py', *arguments], capture_output=True,
                            text=True)
    assert result.returncode == 1 and 'nowhere' in result.stderr
    assert 'FAILED shapes/r2n26: tools/train.py ended with exit code 1' in result.stderr


def test_settings_are_tested_apart(folder, played, capsys):
    """Boxes of a detector only where their file is."""
    tables = yaml.safe_load((folder / 'tables.yml').read_text())
    tables['shapes'].update(settings=dict(gt_boxes=None, detected_boxes='boxes.json'), columns=['kpt_ap'])
    tables['shapes']['rows'] = dict(r50=dict(model='ResNet-50', role='baseline', config=str(folder / 'tiny.py'),
                                             paper=dict(detected_boxes=[70.4])))
    (folder / 'tables.yml').write_text(yaml.safe_dump(tables, sort_keys=False))
    played.log = {'gt_boxes/AP': 0.724}
    reproduce.main(command(folder, '--data', str(folder)))
    assert [record['setting'] for record in read_lines(folder)] == ['gt_boxes']
    assert f'detected_boxes: left out, it needs {folder / "boxes.json"}' in capsys.readouterr().out

    (folder / 'boxes.json').write_text('[]')
    played.log = {'detected_boxes/AP': 0.704}
    reproduce.main(command(folder, '--data', str(folder)))
    assert [record['measured'] for record in read_lines(folder)] == [{'kpt_ap': 72.4}, {'kpt_ap': 70.4}]
    assert [part[part.index('--setting') + 1] for part in played.commands if '--setting' in part] == [
        'gt_boxes', 'detected_boxes']


def test_two_tables_share_a_run(folder, played, capsys):
    text = (folder / 'tables.yml').read_text()
    (folder / 'tables.yml').write_text(text + text.replace('shapes:', 'sizes:').replace('box_ap50', 'box_ap_small'))
    reproduce.main(command(folder))
    reproduce.main(['sizes', *command(folder)[1:]])
    assert len(played.commands) == 4 and 'box AP small' in capsys.readouterr().out


def add_changes(folder, changes):
    text = (folder / 'tables.yml').read_text()
    row = f'wide: {{model: Res2Net-26, role: ours, config: {folder}/tiny.py, changes: {changes}}}'
    (folder / 'tables.yml').write_text(re.sub('later:.*', row, text))


def test_changes_of_a_row(folder, played, capsys):
    """They are in the config that is run and in its hash, and a result without them is not of the row."""
    add_changes(folder, '{model.backbone.base_channels: 16}')
    reproduce.main(command(folder, '--rows', 'r2n26', 'wide'))
    plain, wide = read_lines(folder)
    assert (plain['changes'], wide['changes']) == ({}, {'model.backbone.base_channels': 16})
    assert plain['config'] == wide['config'] and plain['config_hash'] != wide['config_hash']
    configs = [Path(part[2]) for part in played.commands]
    assert configs[0] == configs[1] == folder / 'tiny.py' and configs[2] == configs[3] != configs[0]
    expected = load_config(folder / 'tiny.py')
    expected.model.backbone.base_channels = 16
    assert load_config(configs[2]).to_dict() == expected.to_dict()
    assert 'tiny.py model.backbone.base_channels=16, schedule full' in capsys.readouterr().out
    reproduce.main(command(folder, '--rows', 'r2n26', 'wide'))
    assert len(played.commands) == 4 and len(read_lines(folder)) == 2

    rows = read_tables(folder / 'tables.yml')['shapes'].rows
    results = read_results(folder / 'out' / 'results.jsonl', pytest.fail)
    assert newest_result(results, rows['r2n26'], None) == results[0]
    assert newest_result(results, rows['wide'], None) == results[1]
    assert newest_result(results[:1], rows['wide'], None) is None
    reproduce.main([*command(folder)[1:], '--report', str(folder / 'report.md')])
    assert '| wide | tiny.py | model.backbone.base_channels=16 | ' in (folder / 'report.md').read_text()


def test_schedule_cuts_what_a_row_changes(folder, played):
    add_changes(folder, '{train_cfg.max_iters: 3000, model.backbone.base_channels: 16}')
    reproduce.main(command(folder, '--rows', 'wide', '--schedule', 'short'))
    cfg = load_config(played.commands[0][2])
    assert cfg.train_cfg.max_iters == 300 and cfg.model.backbone.base_channels == 16


def test_change_that_nobody_reads(folder, played):
    add_changes(folder, '{modle.backbone.base_channels: 16}')
    with pytest.raises(SystemExit, match="shapes/wide: .*tiny.py has no 'modle.backbone.base_channels'"):
        reproduce.main(command(folder, '--rows', 'wide'))
    assert not played.commands


def test_change_that_the_model_refuses():
    backbone = dict(type='res2net_mm.CifarRes2NeXt', cardinality=12)
    cfg = Config(dict(model=dict(backbone=backbone, head=dict(num_classes=10))))
    with pytest.raises(RowError, match='CifarRes2NeXt cannot be counted.*cardinality'):
        runs.count_parameters(cfg)


def test_parameters_are_measured(folder, played, monkeypatch):
    """Where they are a column; nothing is asked of the log for them."""
    text = (folder / 'tables.yml').read_text()
    (folder / 'tables.yml').write_text(text.replace('[box_ap, box_ap50]', '[box_ap, params_m]'))
    monkeypatch.setattr(runs, 'count_parameters', lambda cfg: cfg.model.backbone.base_channels)
    reproduce.main(command(folder, '--rows', 'r2n26'))
    assert read_lines(folder)[0]['measured']['params_m'] == 8


def test_functions_tell_through_what_they_are_given(folder, played, capsys):
    """Nothing is printed, and what fails is a typed error after the other rows have run."""
    played.exit_codes = [1, 0]
    table = read_tables(folder / 'tables.yml')['shapes']
    lines, warnings, shown = [], [], []
    output = runs.Output(log=lines.append, warn=warnings.append, show=shown.append)
    settings = RunSettings(folder / 'out', schedule='short')
    with pytest.raises(runs.ReproductionError, match='1 of 2 rows failed:\n  shapes/r50: .*exit code 1'):
        runs.reproduce_table(table, table.runnable_rows, {}, settings, output)
    assert warnings == ['FAILED shapes/r50: tools/train.py ended with exit code 1; it said why above']
    assert len(shown) == 1 and f'All results: {folder}/out/results.jsonl' in lines
    [result] = runs.reproduce_table(table, [table.rows['r2n26']], {}, settings, output)
    assert (result.row, result.schedule) == ('r2n26', 'short')
    assert tuple(capsys.readouterr()) == ('', '')


@pytest.mark.parametrize('wrong', [dict(schedule='long'), dict(gpus=0), dict(test_gpus=0)])
def test_wrong_settings(wrong, tmp_path):
    with pytest.raises(ValueError, match='{}='.format(*wrong)):
        RunSettings(tmp_path, **wrong)
