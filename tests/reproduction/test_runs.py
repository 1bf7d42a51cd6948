"""tools/reproduce.py: the numbers of the paper, cut schedules, one table run for real, and what goes wrong."""
import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import yaml
from helpers import LEAVES, TOOLS, config_path
from mmengine.config import Config

from res2net_mm import load_config
from res2net_mm.datasets.shapes import write_shapes
from res2net_mm.reproduction import figure
from res2net_mm.reproduction import runs as reproduce
from res2net_mm.reproduction import tables as paper
from res2net_mm.reproduction.schedules import derived_config, difference, from_scratch, short, smoke
from res2net_mm.utils import provenance as machine

DEMO = config_path('demo_faster_rcnn_r2n26_shapes.py')
COCO = config_path('faster_rcnn_r50_coco.py')


# The committed numbers.
def numbers(table, source):
    return [(row['name'], setting, metric, number) for row in table['rows'].values()
            for setting, found in row[source].items() for metric, number in found.items()]


def test_all_187_numbers_of_the_paper():
    found = {name: numbers(table, 'paper') for name, table in paper.read_tables().items()}
    assert found.pop('fig5') == []
    assert {name: len(each) for name, each in found.items()} == dict(
        table1=27, table2=6, table3=29, table4=22, table5=6, table6=24, table7=7, table8=30, table9=16, table10=20)
    assert {name: sum(number for *_, number in each) for name, each in found.items()} == pytest.approx(dict(
        table1=392.88, table2=84.0, table3=994.26, table4=581.64, table5=316.3, table6=643.4, table7=552.4,
        table8=1168.4, table9=7.443, table10=1564.5))
    for name, row, setting, metric, number in [
        ('table1', 'r2n50', None, 'top1_err', 22.01), ('table3', 'r2n50_18w4s', None, 'runtime_ms', 106),
        ('table5', 'voc07_r2n50', None, 'voc_map', 74.4), ('table6', 'r50', None, 'box_ar_large', 61.6),
        ('table7', 'r2n101', None, 'miou', 80.2), ('table8', 'r2n50_18w6s', None, 'mask_ap75', 38.1),
        ('table9', 'r2n50', 'dut_omron', 'mae', 0.071), ('table10', 'r2n101', 'gt_boxes', 'kpt_ap_large', 78.5)]:
        assert (row, setting, metric, number) in found[name]


def test_official_numbers_agree_with_the_papers():
    for table in paper.read_tables().values():
        for row in table['rows'].values():
            for setting, found in row['paper'].items():
                official = row['official'].get(setting, {})
                assert {**official, **found} == {**found, **official}
    assert len(numbers(paper.read_tables()['table8'], 'official')) == 7 * 12


def test_gain_row_is_the_difference():
    rows = paper.read_tables()['table6']['rows']
    assert rows['gain']['paper'][None] == pytest.approx({
        metric: rows['r2n50']['paper'][None][metric] - number for metric, number in rows['r50']['paper'][None].items()})


def test_keypoints_of_the_two_kinds_of_boxes_do_not_mix():
    """The paper's own comparison is 3.3 and 3.0; like for like it is 1.1, 1.3 and 0.8."""
    table = paper.read_tables()['table10']
    results = [result(row, 'table10', setting=setting, measured={'kpt_ap': 70}) for row in table['rows'].values()
               for setting in table['settings'] if row['config']]
    gains = {line[:2]: line.paper_gain for line in paper.compare(table, results) if line.metric == 'AP'}
    assert gains['r2n50', 'detected_boxes'] == '+1.1*' and gains['r2n50', 'gt_boxes'] == '+1.3*'
    assert gains['r2n101', 'detected_boxes'] == '+0.8*' and gains['r2n101', 'gt_boxes'] == ''


# The schedules.
def test_short_schedule_in_epochs():
    cfg = load_config(COCO).to_dict()
    cut = short(cfg)
    assert cfg == load_config(COCO).to_dict()  # the original is left alone
    assert cut['train_cfg']['max_epochs'] == 2
    warm_up, steps = cut['param_scheduler']
    assert (warm_up['begin'], warm_up['end']) == (0, 83)  # 500 of 12 epochs
    assert (steps['end'], steps['milestones']) == (2, [1])

    cfg['train_cfg'].update(max_epochs=140, val_interval=10)
    cfg['param_scheduler'][1].update(end=140, milestones=[90, 120])
    cut = short(cfg)
    assert (cut['train_cfg']['max_epochs'], cut['train_cfg']['val_interval']) == (14, 1)
    assert (cut['param_scheduler'][0]['end'], cut['param_scheduler'][1]['milestones']) == (50, [9, 12])


def test_short_schedule_in_iterations():
    cut = short(load_config(DEMO).to_dict())
    assert (cut['train_cfg']['max_iters'], cut['train_cfg']['val_interval']) == (60, 20)
    assert cut['default_hooks']['checkpoint']['interval'] == 30
    assert cut['param_scheduler'][0]['end'] == 5
    assert 'end' not in cut['param_scheduler'][1]  # to the end of the training, whatever that is
    one = dict(type='PolyLR', begin=1500, end=30000, by_epoch=False)
    cut = short(dict(train_cfg=dict(max_iters=30000, val_interval=3000), param_scheduler=one))
    assert cut['param_scheduler'] == dict(type='PolyLR', begin=150, end=3000, by_epoch=False)
    never = dict(train_cfg=dict(max_iters=100, val_interval=-1), default_hooks=dict(checkpoint=dict(interval=-1)))
    assert short(never) == dict(never, train_cfg=dict(max_iters=10, val_interval=-1))


def test_smoke_schedule_finds_the_innermost_data():
    cfg = load_config(COCO).to_dict()
    plain = cfg['train_dataloader']['dataset']
    cfg['train_dataloader']['dataset'] = dict(
        type='RepeatDataset', times=3, dataset=dict(type='ConcatDataset', datasets=[plain, dict(plain)]))
    cut = smoke(cfg)
    assert cut['train_cfg']['max_epochs'] == 1 and smoke(load_config(DEMO).to_dict())['train_cfg']['max_iters'] == 2
    loader = cut['train_dataloader']
    assert [dataset['indices'] for dataset in loader['dataset']['dataset']['datasets']] == [4, 4]
    assert (loader['batch_size'], loader['num_workers'], loader['persistent_workers']) == (2, 0, False)
    assert cut['test_dataloader']['dataset']['indices'] == 2 and cut['test_dataloader']['batch_size'] == 1


def test_from_scratch_drops_all_weights():
    cfg = load_config(COCO).to_dict()
    cfg['model']['roi_head']['shared_head'] = dict(
        norm_eval=True, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'))
    cfg['load_from'] = 'detector.pth'
    model = from_scratch(cfg)['model']
    assert model['backbone']['init_cfg'] is None and model['backbone']['frozen_stages'] == -1
    assert model['backbone']['norm_eval'] is False
    assert model['roi_head']['shared_head'] == dict(norm_eval=False, init_cfg=None)
    assert 'Pretrained' not in str(from_scratch(cfg)['model']) and from_scratch(cfg)['load_from'] is None


@pytest.mark.parametrize('config', [DEMO, COCO], ids=['iterations', 'epochs'])
@pytest.mark.parametrize('change', [short, smoke, from_scratch])
def test_derived_config_is_the_changed_one(config, change, tmp_path):
    cfg = load_config(config).to_dict()
    changed = change(cfg)
    path = tmp_path / 'config.py'
    path.write_text(derived_config(config, difference(cfg, changed), 'changed'))
    assert load_config(path).to_dict() == changed


# One table for real.
TABLE = '''
shapes:
  title: Shapes
  data: shapes
  columns: [box_ap, box_ap50]
  rows:
    r50: {{model: ResNet-50, role: baseline, config: {folder}/missing.py, paper: [31.1, 51.4]}}
    r2n26: {{model: Res2Net-26, split: 26w4s, role: ours, twin: r50, config: {folder}/tiny.py, paper: [33.7, 53.6]}}
    later: {{model: Res2Net-101, role: ours}}
'''
TINY = f'''
_base_ = {str(DEMO)!r}
model = dict(
    backbone=dict(base_channels=8), neck=dict(in_channels=[32, 64, 128, 256]), test_cfg=dict(rcnn=dict(score_thr=0)))
randomness = dict(seed=3)
'''


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'tables.yml').write_text(TABLE.format(folder=tmp_path))
    (tmp_path / 'tiny.py').write_text(TINY)
    return tmp_path


def command(folder, *arguments):
    files = ['--tables', str(folder / 'tables.yml'), '--out', str(folder / 'out')]
    return ['shapes', *files, '--device', 'cpu', *arguments]


def read(folder):
    return [json.loads(line) for line in (folder / 'out' / 'results.jsonl').read_text().splitlines()]


def test_train_test_and_resume(folder, monkeypatch, capsys):
    pytest.importorskip('mmdet')
    write_shapes(folder / 'data', train=6, val=3)
    arguments = command(folder, '--schedule', 'smoke', '--data', str(folder / 'data'))
    first = subprocess.run([sys.executable, TOOLS / 'reproduce.py', *arguments], capture_output=True,
                           text=True, cwd=folder)
    assert first.returncode == 1, first.stderr[-2000:]  # one row has no config file; the other's result is kept
    assert re.search(r'FAILED shapes/r50: .*missing.py.* does not exist', first.stderr)
    assert '1 of 2 rows failed' in first.stderr and 'no config yet for later' in first.stdout
    [record] = read(folder)
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
    said = capsys.readouterr().out
    assert 'trained already' in said and 'tested already' in said
    assert read(folder) == [record]

    # Another option is another training, in a folder of its own; a dry run makes nothing of it.
    reproduce.main([*arguments, '--rows', 'r2n26', '--dry-run', '--cfg-options', 'randomness.seed=4'])
    said = capsys.readouterr().out
    assert len(re.findall('tools/(?:train|test).py .*randomness.seed=4', said)) == 2
    assert list((folder / 'out' / 'smoke').iterdir()) == [work_dir] and read(folder) == [record]


# Everything else, with tools/train.py and tools/test.py played.
@pytest.fixture
def played(folder, monkeypatch):
    """The commands that were run; what they leave is a checkpoint and a log of a test."""
    (folder / 'missing.py').write_text(TINY)
    commands = []

    def play(command):
        commands.append(command)
        work_dir = Path(command[command.index('--work-dir') + 1])
        if 'train.py' in str(command):
            if played.exit_codes:
                code = played.exit_codes.pop(0)
                if code:
                    return code
            (work_dir / 'last_checkpoint').write_text(str(work_dir / 'iter_600.pth'))
        else:
            (work_dir / '20260101_000000').mkdir(parents=True)
            (work_dir / '20260101_000000' / '20260101_000000.json').write_text(json.dumps(played.log))
        return 0

    class Played:
        exit_codes = []
        log = {'coco/bbox_mAP': 0.345, 'coco/bbox_mAP_50': 0.5, 'coco/bbox_mAP_s': -1, 'time': 0.1}

    played = Played()
    played.commands = commands
    monkeypatch.setattr(subprocess, 'call', play)
    monkeypatch.setattr(machine, 'probe', lambda device: ('2.0', 'a processor'))
    return played


def test_row_by_row(folder, played, capsys):
    reproduce.main(command(folder))
    assert [record['row'] for record in read(folder)] == ['r50', 'r2n26']
    assert read(folder)[0]['measured'] == {'box_ap': 34.5, 'box_ap50': 50.0, 'box_ap_small': None}
    assert [Path(part[1]).name for part in played.commands] == ['train.py', 'test.py'] * 2
    train, test = played.commands[:2]
    assert Path(train[2]) == folder / 'missing.py' and '--resume' in train  # the full schedule is the config itself
    assert test[3].endswith('iter_600.pth')
    assert 'NOT comparable' not in capsys.readouterr().out

    reproduce.main(command(folder))
    assert len(played.commands) == 4 and len(read(folder)) == 2
    (folder / 'tiny.py').write_text(TINY + 'train_cfg = dict(max_iters=500)\n')
    reproduce.main(command(folder))
    assert len(played.commands) == 6 and len(read(folder)) == 3  # a config that changed is another experiment


def test_several_gpus(folder, played):
    reproduce.main(command(folder, '--rows', 'r50', '--gpus', '4', '--cfg-options', 'randomness.seed=1'))
    train = ' '.join(played.commands[0])
    assert '-m torch.distributed.run --standalone --nproc_per_node=4' in train and '--launcher pytorch' in train
    assert train.endswith('--cfg-options randomness.seed=1')
    assert read(folder)[0]['train']['devices'] == 4 and read(folder)[0]['batch_size'] == 4 * 8


def test_failed_row_leaves_the_others(folder, played, capsys):
    played.exit_codes = [1, 0]
    with pytest.raises(SystemExit) as stop:
        reproduce.main(command(folder))
    assert 'shapes/r50: tools/train.py ended with exit code 1' in str(stop.value.code)
    assert [record['row'] for record in read(folder)] == ['r2n26']
    reproduce.main(command(folder))  # goes on where it stopped
    assert [record['row'] for record in read(folder)] == ['r2n26', 'r50']
    assert read(folder)[1]['train']['attempts'] == 2

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
    assert [record['train']['attempts'] for record in read(folder)] == [2, 1]


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
    assert [record['setting'] for record in read(folder)] == ['gt_boxes']
    assert f'detected_boxes: left out, it needs {folder / "boxes.json"}' in capsys.readouterr().out

    (folder / 'boxes.json').write_text('[]')
    played.log = {'detected_boxes/AP': 0.704}
    reproduce.main(command(folder, '--data', str(folder)))
    assert [record['measured'] for record in read(folder)] == [{'kpt_ap': 72.4}, {'kpt_ap': 70.4}]
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
    plain, wide = read(folder)
    assert (plain['changes'], wide['changes']) == ({}, {'model.backbone.base_channels': 16})
    assert plain['config'] == wide['config'] and plain['config_hash'] != wide['config_hash']
    configs = [Path(part[2]) for part in played.commands]
    assert configs[0] == configs[1] == folder / 'tiny.py' and configs[2] == configs[3] != configs[0]
    expected = load_config(folder / 'tiny.py')
    expected.model.backbone.base_channels = 16
    assert load_config(configs[2]).to_dict() == expected.to_dict()
    assert 'tiny.py model.backbone.base_channels=16, schedule full' in capsys.readouterr().out
    reproduce.main(command(folder, '--rows', 'r2n26', 'wide'))
    assert len(played.commands) == 4 and len(read(folder)) == 2

    rows = paper.read_tables(folder / 'tables.yml')['shapes']['rows']
    assert paper.latest([plain, wide], rows['r2n26'], None) == plain
    assert paper.latest([plain, wide], rows['wide'], None) == wide
    assert paper.latest([plain], rows['wide'], None) is None
    del plain['changes']  # a line from before there were any
    assert paper.latest([plain, wide], rows['r2n26'], None) == plain
    assert paper.latest([plain], rows['wide'], None) is None
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
    with pytest.raises(reproduce.RowError, match='CifarRes2NeXt cannot be counted.*cardinality'):
        reproduce.count_parameters(cfg)


def test_parameters_are_measured(folder, played, monkeypatch):
    """Where they are a column; nothing is asked of the log for them."""
    text = (folder / 'tables.yml').read_text()
    (folder / 'tables.yml').write_text(text.replace('[box_ap, box_ap50]', '[box_ap, params_m]'))
    monkeypatch.setattr(reproduce, 'count_parameters', lambda cfg: cfg.model.backbone.base_channels)
    reproduce.main(command(folder, '--rows', 'r2n26'))
    assert read(folder)[0]['measured']['params_m'] == 8


@pytest.mark.parametrize('arguments, message', [
    (['nosuch'], r"(?s)no table 'nosuch'; there are:.*table10 .*simplebaseline_r2n50_coco.py"),
    (['table7', '--rows', 'r50', 'r52'], 'table7 has no row r52; it has r50, r2n50_48w2s'),
    (['table4', '--rows', 'wrn', 'densenet_bc'], 'no config yet for wrn, densenet_bc'),
    (['table5', '--data', '/data'], 'name each: voc07=DIR coco=DIR'),
    (['table7', '--data', 'coco=/data'], "no row needs 'coco'; needed is voc12aug"),
    (['table7', '--cfg-options', 'seed'], 'wanted is KEY=VALUE'),
    (['table7', '--tables', 'nosuch.yml'], "'nosuch.yml' does not exist"),
    (['--report', 'x.md', '--results', 'nosuch.jsonl'], "'nosuch.jsonl' does not exist"),
])
def test_wrong_arguments(arguments, message):
    with pytest.raises(SystemExit) as stop:
        reproduce.main(arguments)
    assert re.search(message, str(stop.value.code)), stop.value.code


@pytest.mark.parametrize('arguments', [['table7', '--schedule', 'long'], ['table7', '--gpus', '0']])
def test_wrong_choice(arguments, capsys):
    with pytest.raises(SystemExit):
        reproduce.main(arguments)
    assert arguments[1] in capsys.readouterr().err


@pytest.mark.parametrize('change, message', [
    (('twin: r50', 'twin: r5'), "row r2n26: its twin 'r5' is not a row"),
    (('role: ours', 'role: best'), "role 'best' must be one of baseline, ours, gain"),
    (('box_ap50]', 'box_ap5]'), 'columns box_ap5 are not among the metrics'),
    (('[33.7, 53.6]', '[33.7, 53.6, 1]'), 'row r2n26: paper must have a number per column'),
    (('title:', 'titel:'), "KeyError: 'title'"),
    (('[33.7', '[33.7]'), 'not a file of tables'),
    (('twin: r50', 'changes: scales'), "row r2n26: changes 'scales' must be values by dotted key"),
    (('twin: r50', 'changes: {2: 3}'), 'row r2n26: changes {2: 3} must be values by dotted key'),
    (('twin: r50', 'series: 3'), 'row r2n26: series 3 must be a name or a list of names'),
    (('columns: [box_ap, box_ap50]', 'columns: [box_ap]'), 'row r50: paper must have a number per column'),
])
def test_wrong_file_of_tables(change, message, folder):
    path = folder / 'tables.yml'
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        paper.read_tables(path)
    assert str(path) in str(error.value)


def test_list_of_tables(capsys):
    reproduce.main([])
    said = capsys.readouterr().out
    assert re.search('r2n50_26w4s +Res2Net-50 26w4s +mask_rcnn_r2n50_coco.py', said)
    assert re.search('wrn +Wide ResNet +no config yet', said)


# The results file.
def result(row, table='table7', schedule='full', setting=None, measured=None, data='data/', date='2026-01-01T00:00:00'):
    run = dict(date=date, commit='0123456789 dirty', version='0', torch='2', device='GPU', devices=1, seconds=60.0)
    return dict(table=table, row=row['name'], setting=setting, config=row['config'], changes=row['changes'],
                config_hash='0', schedule=schedule, from_scratch=False, options=[], data=data, batch_size=16,
                recipe_batch_size=16, train=run, test=run, measured=measured or {})


def test_half_a_line_loses_nothing(tmp_path, capsys):
    rows, path = list(paper.read_tables()['table7']['rows'].values()), tmp_path / 'sub' / 'results.jsonl'
    first, second = result(rows[0]), result(rows[1])
    paper.append_result(path, first)
    with open(path, 'a') as file:
        file.write('{"table": "tab')  # where a crash stopped
    paper.append_result(path, second)
    assert paper.read_results(path) == [first, second]
    assert f'{path}, line 2 is left out: it is not a result' in capsys.readouterr().err
    with open(path, 'a') as file:
        file.write('{"table": "table7"}\n')
    assert paper.read_results(path) == [first, second]
    assert 'line 4 is left out: it has no config' in capsys.readouterr().err


def test_latest_result_of_the_same_data_counts():
    table = paper.read_tables()['table7']
    r50, r2n50 = table['rows']['r50'], table['rows']['r2n50_26w4s']
    results = [result(r50, measured={'miou': 70}), result(r50, measured={'miou': 77.04}, date='2026-02-01'),
               result(r50, measured={'miou': 50}, data='mini/', date='2026-03-01'),
               result(r2n50, measured={'miou': 79})]
    [_, line] = paper.compare(table, results)
    assert line == ('r2n50_26w4s', '', 'mIoU', '79.2', '79.0', '+1.5', '+2.0')
    [line] = paper.compare(table, results[3:])
    assert line.measured_gain == ''


def test_report(tmp_path, capsys):
    tables, path = paper.read_tables(), tmp_path / 'results.jsonl'
    for row in ('r50', 'r2n50_26w4s'):
        paper.append_result(path, result(tables['table7']['rows'][row], measured={'miou': 78}))
    paper.append_result(path, result(tables['table8']['rows']['r101'], 'table8', 'short', measured={'mask_ap': 12.34}))
    report = tmp_path / 'report.md'
    reproduce.main(['--report', str(report), '--results', str(path)])
    text = report.read_text()
    assert '| r2n50_26w4s | mIoU | 79.2 | 78.0 | +1.5 | +0.0 |' in text
    assert r'| r101 | mask AP | 35.5\* | 12.3 |' in text and 'the paper has no such number' in text
    full, cut = text.split('## table8')
    assert 'NOT comparable' not in full and 'NOT comparable' in cut
    assert '| r50 | deeplabv3plus_r50_voc12aug.py | data/ | 16 (recipe: 16) | 1 x GPU | 60 s | 60 s |' in full
    assert '| 01234567 dirty | 2026-01-01 |' in full
    reproduce.main(['table7', '--report', str(report), '--results', str(path)])
    assert 'table8' not in report.read_text()


def test_every_config_that_a_table_names_exists():
    named = {row['config'] for table in paper.read_tables().values() for row in table['rows'].values() if row['config']}
    assert named <= {path.name for path in LEAVES}


# The figure of a table.
FIG5 = paper.read_tables()['fig5']


def points(*names, **changes):
    """Results of rows of Figure 5; the later the row, the larger and the better."""
    return [dict(result(FIG5['rows'][name], 'fig5', measured=dict(params_m=10. + place, top1=80. + place)), **changes)
            for place, name in enumerate(names)]


def test_series_of_figure_5():
    rows = FIG5['rows'].values()
    keys = dict(scale='model.backbone.scales', cardinality='model.backbone.groups', depth='model.backbone.depth')
    assert {name: [row['name'] for row in rows if name in row['series']] for name in keys} == {
        'scale': ['start', *(f'scale{scale}' for scale in range(2, 7))],
        'cardinality': ['start', *(f'cardinality{groups}' for groups in (12, 18, 24, 30, 36))],
        'depth': ['start', *(f'depth{depth}' for depth in (47, 74, 101, 128, 155))]}
    for row in rows:
        series = row['series'][0]
        assert row['changes'] == ({} if row['name'] == 'start' else {keys[series]: int(row['name'][len(series):])})


def test_lines_of_a_figure():
    """All three start in one point; a mean is over the newest result of every seed; nothing is mixed."""
    results = points('start', 'scale3', 'scale2', 'cardinality12')
    [lines] = figure.panels(FIG5, results).values()
    assert lines == {'scale': [(10, [80], ''), (11, [81], '3'), (12, [82], '2')],
                     'cardinality': [(10, [80], ''), (13, [83], '12')], 'depth': [(10, [80], '')]}
    results[0].update(seed=0, options=['randomness.seed=0'])
    more = [dict(results[0], seed=seed, options=[f'randomness.seed={seed}'], test=dict(date=date),
                 measured=dict(params_m=10., top1=accuracy))
            for seed, date, accuracy in ((1, '2026-02-01', 82.), (2, '2026-02-01', 87.), (1, '2026-03-01', 84.))]
    [lines] = figure.panels(FIG5, results + more).values()
    assert lines['depth'] == [(10, [80, 84, 87], '')]
    other = points('start', 'depth47', data='mini/', options=['a=1', 'randomness.seed=3'])
    apart = figure.panels(FIG5, results + other)
    assert list(apart) == ['data/', 'mini/ a=1']
    start = (10, [80], '')
    assert apart['mini/ a=1'] == {'scale': [start], 'cardinality': [start], 'depth': [start, (11, [81], '47')]}
    assert figure.panels(FIG5, points('start')[:0]) == {}
    untested = [dict(each, measured=dict(params_m=10.)) for each in results]
    assert figure.panels(FIG5, untested) == {}


def test_figure_is_drawn(tmp_path, capsys):
    path = tmp_path / 'results.jsonl'
    results = [*points('start', 'scale2', 'cardinality12', 'depth47', 'depth74'), *points('start', schedule='short')]
    for each in results:
        paper.append_result(path, each)
    reproduce.main(['fig5', '--report', str(tmp_path / 'report.md'), '--results', str(path)])
    assert 'fig5.png, fig5_short.png' in capsys.readouterr().out
    picture = cv2.imread(str(tmp_path / 'fig5.png'))
    for colour in ((31, 119, 180), (255, 127, 14), (44, 160, 44)):  # matplotlib's first three: a line each
        assert (picture == colour[::-1]).all(-1).sum() > 100
    full, short = (tmp_path / 'report.md').read_text().split('schedule short')
    assert '](fig5.png)' in full and '](fig5_short.png)' in short
    assert '| scale2 | top-1 accuracy % | 81.00 | +1.00 |' in full
    results = [dict(each, from_scratch=True) for each in results]
    drawn = figure.draw('fig5', FIG5, results, 'full, from scratch', tmp_path)
    assert drawn == tmp_path / 'fig5_full_from_scratch.png' and drawn.is_file()


def test_table_without_series_has_no_figure(folder, played, capsys):
    table = paper.read_tables()['table7']
    assert figure.draw('table7', table, [result(table['rows']['r50'], measured={'miou': 78})], 'full', folder) is None
    text = (folder / 'tables.yml').read_text()
    reproduce.main(command(folder))
    assert 'Figure:' not in capsys.readouterr().out and not list(folder.glob('**/*.png'))
    (folder / 'tables.yml').write_text(text.replace('role: baseline', 'role: baseline, series: depth'))
    reproduce.main(command(folder))
    assert f'Figure: {folder / "out" / "shapes.png"}' in capsys.readouterr().out
    assert (folder / 'out' / 'shapes.png').is_file()
