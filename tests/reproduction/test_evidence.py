"""Res2Net beside ResNet with several seeds: the plan, the data, the runs, the published results and the page."""
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
from helpers import ROOT, TOOLS, expect_failure
from result_cases import sample_result

from res2net_mm.cli.evidence import choose_tables, main
from res2net_mm.reproduction import evidence, evidence_page
from res2net_mm.reproduction.plans import plan_run
from res2net_mm.reproduction.results import RunRecord, TrainingRecord, read_results
from res2net_mm.reproduction.tables import EVIDENCE_TABLES, read_tables
from res2net_mm.utils import provenance as machine

TABLES = read_tables(EVIDENCE_TABLES)
TWINS = [(name, row.name) for name, table in TABLES.items() for row in table.rows.values()
         if row.twin and not row.series]
SCOPES = dict(cifar10='mmpretrain', cifar10_wide='mmpretrain', digits='mmpretrain', sizes='mmpretrain', ecssd='mmseg',
              ecssd_looks='mmseg', kvasir='mmseg', bccd='mmdet')


@pytest.mark.parametrize(('name', 'row'), TWINS)
def test_twins_cost_the_same(name, row):
    pytest.importorskip(SCOPES[name])
    ours = TABLES[name].rows[row]
    (_, twin_macs), (_, macs) = evidence_page.model_cost(TABLES[name].twin_of(ours)), evidence_page.model_cost(ours)
    if name == 'cifar10_wide':  # as in the paper's Table 4
        assert macs < twin_macs
    else:
        assert macs / twin_macs == pytest.approx(1, abs=0.02 if name == 'cifar10' else 0.031)


def test_the_plan():
    assert {name: {row.seeds for row in table.rows.values()} for name, table in TABLES.items()
            if not any(row.series for row in table.rows.values())} == {name: {3} for name in SCOPES}


def seed_result(row, seed, measured, date='2026-01-01', **changed):
    run = dict(date=date, device='a processor', torch='2.0', commit='0123', seconds=1800.0)
    values = dict(table=row.table, seed=seed, measured=measured, config_hash=f'{row.name}{seed}',
                  train=TrainingRecord(**run, data='/somewhere/data'), test=RunRecord(**run), data='/somewhere/data')
    return sample_result(row, **{**values, **changed})


def scores(f, mae):
    return dict(ecssd_f=f, ecssd_mae=mae)


def ecssd_results():
    r26, r2n26 = TABLES['ecssd'].rows.values()
    results = [seed_result(r26, seed, scores(0.70 + 0.01 * seed, 0.2)) for seed in (1, 0, 2)]
    results += [seed_result(r2n26, seed, scores(0.72 + 0.011 * seed, 0.2 - 0.1 * (seed == 1)), '2026-02-01')
                for seed in range(3)]
    return results


def test_differences_and_their_interval():
    table = TABLES['ecssd']
    results = ecssd_results()
    r2n26 = table.rows['r2n26']
    others = [seed_result(r2n26, 5, scores(0, 0)), seed_result(r2n26, 0, scores(0, 0), schedule='smoke'),
              seed_result(r2n26, 0, scores(0, 0), '2026-01-15'), seed_result(r2n26, 0, scores(0, 0), changes={'a': 1})]
    found = evidence.collect_experiments(table, results + others, 'full')
    assert {name: list(experiment.results) for name, experiment in found.items()} == {
        'r26': [0, 1, 2], 'r2n26': [0, 1, 2]}
    assert found['r2n26'].values('ecssd_f') == {0: 0.72, 1: 0.731, 2: 0.742}
    difference = evidence.paired_difference(found['r2n26'], found['r26'], 'ecssd_f')
    assert difference.values == pytest.approx([0.02, 0.021, 0.022]) and difference.mean == pytest.approx(0.021)
    assert difference.half_width == pytest.approx(4.303 * 0.001 / 3**0.5, rel=1e-3)  # Student's t, 2 degrees of freedom
    assert difference.is_told_from_chance
    assert not evidence.paired_difference(found['r2n26'], found['r26'], 'ecssd_mae').is_told_from_chance
    assert evidence.paired_difference(found['r2n26'], found['r26'], 'ecssd_s') is None
    assert evidence.Difference([0.5]).half_width == float('inf') and not evidence.Difference([0.5]).is_told_from_chance


def test_published_results_and_page(tmp_path, capsys):
    results, file, page = ecssd_results(), tmp_path / 'results' / 'results.jsonl', tmp_path / 'evidence.md'
    other = sample_result(read_tables()['table7'].rows['r50'], measured=dict(miou=78.0))
    published = evidence.publish_results(file, [*results[:4], other], [], TABLES.values())
    assert len(published) == 4 and '/somewhere' not in file.read_text()
    assert [result.data for result in published] == [result.train.data for result in published] == ['ecssd'] * 4
    assert read_results(file, pytest.fail) == published
    changed = replace(results[0], measured=scores(0.99, 0))  # what is published stays
    published = evidence.publish_results(file, [changed, *results], published, TABLES.values())
    assert len(published) == 6 and 0.99 not in [result.measured['ecssd_f'] for result in published]
    main(['--report-only', '--published', str(file), '--report', str(page)])
    assert capsys.readouterr().out == f'Wrote {page}, {tmp_path / "results" / "ecssd.png"}\n'
    text = page.read_text()
    assert '| ResNet-26 | ' in text and '| 3 | 0.710 ±0.010 | 0.200 ±0.000 |' in text
    assert '| Res2Net-26 26w4s minus ResNet-26 | F | +0.021 | [+0.019, +0.023] | +0.020, +0.021, +0.022 |' in text
    assert 'beside ResNet-26, 3 seeds: a difference that chance alone would rarely make in F (+0.021); and no' in text
    assert 'told from chance in MAE, where the ends' in text and 'Unfinished' not in text
    assert '2026-01-01 to 2026-02-01; 6 runs in 6.0 hours' in text and 'a trial' not in text
    assert '![Salient objects, ECSSD](results/ecssd.png)' in text and '(results/results.jsonl)' not in text
    assert text.count('\n## ') == 2  # in short, and of what was run
    assert ('| Salient objects, ECSSD | Res2Net-26 26w4s minus ResNet-26 | F | +0.021 | [+0.019, +0.023] | yes |\n'
            in text)
    assert cv2.imread(str(tmp_path / 'results' / 'ecssd.png')).std() > 5
    before = text, (tmp_path / 'results' / 'ecssd.png').read_bytes()
    main(['--report-only', '--published', str(file), '--report', str(page)])
    assert (page.read_text(), (tmp_path / 'results' / 'ecssd.png').read_bytes()) == before


def test_ends_of_series_are_compared(tmp_path):
    """With the start, and ours with the others; points of one seed with none."""
    table = TABLES['cifar10_dimensions']
    results = [seed_result(table.rows[name], seed, dict(top1=top1 + seed)) for name, top1 in (
        ('start', 40.0), ('scale3', 45.0), ('scale6', 50.0), ('cardinality12', 52.0), ('depth155', 30.0))
        for seed in range(table.rows[name].seeds)]
    evidence_page.write_page(tmp_path / 'a.md', [table], results, tmp_path / 'results.jsonl', 'full', EVIDENCE_TABLES)
    lines = [line.split(' | ') for line in (tmp_path / 'a.md').read_text().splitlines() if ' minus ' in line]
    assert [line[1:4] for line in lines if len(line) == 6] == [
        [f'{pair}', 'top-1 accuracy %', mean] for pair, mean in (
            ('Res2NeXt-29 2c24w6s minus ResNeXt-29 2c24w', '+10.00'),
            ('ResNeXt-29 12c24w minus ResNeXt-29 2c24w', '+12.00'),
            ('ResNeXt-155 2c24w minus ResNeXt-29 2c24w', '-10.00'),
            ('Res2NeXt-29 2c24w6s minus ResNeXt-29 12c24w', '-2.00'),
            ('Res2NeXt-29 2c24w6s minus ResNeXt-155 2c24w', '+20.00'))]


def test_page_of_a_trial_and_of_one_seed(tmp_path):
    results = [replace(result, schedule='smoke') for result in ecssd_results() if result.seed == 0]
    evidence_page.write_page(tmp_path / 'a.md', [TABLES['ecssd']], results, tmp_path / 'results.jsonl', 'smoke',
                             EVIDENCE_TABLES)
    text = (tmp_path / 'a.md').read_text()
    assert 'a trial, not a result' in text and '| 1 | 0.700 | 0.200 |' in text and '| +0.020 | - | +0.020 |' in text
    assert '| F | +0.020 | - | one seed |' in text
    assert 'one seed, so that nothing can be told' in text and '**Unfinished**: 2 of the 6 runs' in text


def test_the_time_of_a_training_counts_for_its_own_table_alone(tmp_path):
    """Half an hour of training, and half an hour of test, of each of six runs."""
    for table, hours in (('ecssd', '6.0'), ('ecssd_looks', '3.0')):
        results = [replace(result, table=table, measured=dict(look_energy=50.0)) for result in ecssd_results()]
        evidence_page.write_page(tmp_path / 'a.md', [TABLES[table]], results, tmp_path / 'results.jsonl', 'full',
                                 EVIDENCE_TABLES)
        assert f'6 runs in {hours} hours' in (tmp_path / 'a.md').read_text()


def test_what_is_published_is_not_run_again(tmp_path, monkeypatch):
    """On another machine too, which has nothing but the published file."""
    table, ran = TABLES['ecssd'], []

    def run_rows(table, rows, data, settings, output):
        ran.extend((row.name, settings.options['randomness.seed']) for row in rows)
        return []

    monkeypatch.setattr(evidence, 'reproduce_table', run_rows)
    settings = evidence.seed_settings(tmp_path, 'full', None, 1)
    run = plan_run(table.rows['r26'], str(tmp_path / 'elsewhere'), settings)
    published = [seed_result(table.rows['r26'], 1, scores(0.7, 0.2), config_hash=run.config_hash)]
    for results in ([], published, [replace(published[0], table='ecssd_looks')]):
        evidence.run_experiments([table], dict(ecssd=str(tmp_path)), results, tmp_path, 'full', None, None)
    everything = [(row, seed) for seed in range(3) for row in ('r26', 'r2n26')]
    without = [pair for pair in everything if pair != ('r26', 1)]
    assert ran == everything + without + everything


def test_what_needs_a_gpu_is_run_by_name_alone(tmp_path):
    data = dict(cifar10=str(tmp_path))
    assert [table.name for table in choose_tables([], TABLES, data)] == [
        'cifar10', 'cifar10_dimensions', 'digits', 'sizes', 'digits_dimensions']
    assert [table.name for table in choose_tables(['cifar10_wide'], TABLES, data)] == ['cifar10_wide']


def test_bad_arguments(tmp_path, capsys):
    (tmp_path / 'data').mkdir()
    for argv, message in ((['nothing'], 'no table nothing; there are cifar10, cifar10_wide'),
                          (['ecssd'], 'ecssd needs its data: --data ecssd=DIR'),
                          (['--data', 'ecssd'], 'must be NAME=DIR, with a name of bccd, cifar10'),
                          (['--data', f'coco={tmp_path}'], 'must be NAME=DIR'),
                          (['--data', f'ecssd={tmp_path}/none'], "folder '.*none' does not exist")):
        argv = [*argv, '--out', str(tmp_path / 'out'), '--report', str(tmp_path / 'a.md')]
        expect_failure(capsys, main, argv, message)
    assert not (tmp_path / 'a.md').exists()


def test_page_before_the_first_run(tmp_path):
    main(['--report-only', '--published', str(tmp_path / 'results.jsonl'), '--report', str(tmp_path / 'a.md')])
    assert (tmp_path / 'a.md').read_text().rstrip().endswith('The plan says what is going to be run.')


def test_the_page_is_that_of_the_published_results(tmp_path):
    """Text by text; the figures are drawn anew by the same command."""
    published = ROOT / 'docs' / 'results' / 'evidence' / 'results.jsonl'
    results = read_results(published, pytest.fail)
    page = tmp_path / 'docs' / 'evidence.md'
    evidence_page.write_page(page, list(TABLES.values()), results, tmp_path / 'docs/results/evidence/results.jsonl',
                             'full',
                             tmp_path / 'res2net_mm' / 'reproduction' / 'evidence.yml')
    assert page.read_text() == (ROOT / 'docs' / 'evidence.md').read_text()


def test_data_is_written_once_and_whole(tmp_path):
    def fail(root):
        root.mkdir()
        raise KeyboardInterrupt

    lines = []
    with pytest.raises(KeyboardInterrupt):
        evidence.write_once(tmp_path / 'set', fail, lines.append)
    assert not (tmp_path / 'set').exists()
    evidence.write_once(tmp_path / 'set', lambda root: root.mkdir(), lines.append)
    evidence.write_once(tmp_path / 'set', fail, lines.append)  # not again
    assert lines == [f'Making {tmp_path / "set"}'] * 2


def test_data_only(tmp_path, monkeypatch):
    monkeypatch.setitem(evidence.GENERATED, 'digits', lambda root: evidence.write_sizes(root, 8, 4))
    monkeypatch.setattr(subprocess, 'call', lambda command: pytest.fail(f'ran {command}'))
    main(['digits', '--data-only', '--out', str(tmp_path), '--report', str(tmp_path / 'report.md')])
    assert len(list(tmp_path.glob('data/digits/train/*/*.png'))) == 8 and not (tmp_path / 'report.md').exists()
    assert not (tmp_path / 'data' / 'sizes').exists()


@pytest.mark.slow
def test_one_run_for_real(tmp_path, monkeypatch):
    """Train and test a config on a few images, as tools/misc/evidence.py does; then the report alone."""
    pytest.importorskip('mmpretrain')
    for name in evidence.GENERATED:
        monkeypatch.setitem(evidence.GENERATED, name, lambda root: evidence.write_sizes(root, 8, 4))
    ran = []

    def play(command):
        work_dir = Path(command[command.index('--work-dir') + 1])
        if 'sizes_r2n26' in str(command) and not ran:
            ran.append(command)
            return real(command)
        if 'train.py' in str(command):
            (work_dir / 'last_checkpoint').write_text('none.pth')
        else:
            (work_dir / '20260101_000000').mkdir(parents=True)
            (work_dir / '20260101_000000' / 'log.json').write_text('{"accuracy/top1": 50.5}')
        return 0

    real = subprocess.call
    monkeypatch.setattr(subprocess, 'call', play)
    monkeypatch.setattr(machine, 'probe_torch', lambda device: ('2.0', 'a processor'))
    argv = ['digits', 'sizes', '--schedule', 'smoke', '--device', 'cpu', '--out', str(tmp_path / 'out'), '--report',
            str(tmp_path / 'docs' / 'evidence.md'), '--published', str(tmp_path / 'docs' / 'results.jsonl')]
    main(argv)
    assert len(ran) == 1 and 'train.py' in str(ran[0])
    log = next(Path(ran[0][ran[0].index('--work-dir') + 1]).glob('*/vis_data/scalars.json')).read_text()
    assert '"loss"' in log and 'accuracy/top1' in log
    text = (tmp_path / 'docs' / 'evidence.md').read_text()
    assert text.count('| Res2Net-26 26w4s | ') == 2 and (tmp_path / 'docs' / 'digits.png').is_file()
    lines = (tmp_path / 'docs' / 'results.jsonl').read_text().splitlines()
    assert sorted({json.loads(line)['seed'] for line in lines}) == [0, 1, 2] and len(lines) == 12
    monkeypatch.setattr(subprocess, 'call', lambda command: pytest.fail(f'ran {command}'))
    main(argv)  # everything is there
    assert (tmp_path / 'docs' / 'evidence.md').read_text() == text


def test_help():
    shown = subprocess.run([sys.executable, TOOLS / 'misc' / 'evidence.py', '--help'], capture_output=True, text=True)
    assert shown.returncode == 0 and '--report-only' in shown.stdout
