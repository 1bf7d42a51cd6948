"""Res2Net beside ResNet on small datasets: the data, the runs and the report."""
import ast
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from helpers import TOOLS
from result_cases import sample_result

from res2net_mm.cli.evidence import main
from res2net_mm.reproduction import evidence
from res2net_mm.reproduction.plans import row_config
from res2net_mm.reproduction.results import RunRecord, TrainingRecord
from res2net_mm.reproduction.tables import read_tables
from res2net_mm.utils import provenance as machine

TABLES = read_tables(evidence.EVIDENCE_TABLES)


def header(row):
    return ' '.join(ast.get_docstring(ast.parse(row_config(row).read_text())).split())


@pytest.mark.parametrize('name', evidence.DATASETS)
def test_twins_cost_the_same(name):
    pytest.importorskip('mmpretrain')
    twin, ours = TABLES[name].rows['r26'], TABLES[name].rows['r2n26']
    (twin_params, twin_macs), (params, macs) = evidence.model_cost(twin), evidence.model_cost(ours)
    assert macs / twin_macs == pytest.approx(1, abs=0.03)
    assert f'{params / 1e6:.2f} M' in header(ours) and f'{twin_params / 1e6:.2f} M' in header(twin)
    assert f'{100 * (1 - twin_macs / macs):.1f} % less' in header(ours)


def seed_result(row, seed, accuracy, date='2026-01-01', **changed):
    run = dict(date=date, device='a processor', torch='2.0', commit='0123', seconds=30.0)
    return sample_result(row, seed=seed, measured=dict(top1=accuracy), train=TrainingRecord(**run),
                         test=RunRecord(**run), **changed)


def test_summary_and_report(tmp_path, monkeypatch):
    r26, r2n26 = TABLES['digits'].rows.values()
    results = [seed_result(r26, seed, 98 + seed) for seed in (1, 0, 2)]
    results += [seed_result(r2n26, seed, 99.) for seed in (0, 1)] + [seed_result(r2n26, 5, 0.)]
    results += [seed_result(r2n26, 0, 97., '2026-02-01'), seed_result(r2n26, 2, 10., schedule='smoke')]
    results += [seed_result(TABLES['digits_dimensions'].rows['start'], 0, 90.),
                seed_result(r26, 0, 90., changes={'a': 1})]  # others
    experiments = evidence.collect_experiments(results, 'full', 3)
    assert [(experiment.row.name, experiment.accuracies) for experiment in experiments] == [
        ('r26', [98, 99, 100]), ('r2n26', [97., 99.])]
    monkeypatch.setattr(evidence, 'model_cost', lambda row: (2e6, 7e6))
    text = evidence.evidence_markdown(experiments, seeds=3, schedule='full', figure='report.png')
    assert '| ResNet-26 | 2.00 | 7.0 | 98.00, 99.00, 100.00 | 99.00 ± 1.00 |' in text
    assert '97.00, 99.00 | 98.00 ± 1.41 |' in text
    assert 'Res2Net-26 minus ResNet-26 is -1.00, with a standard error of 1.15' in text  # also when it is worse
    assert '2026-01-01 to 2026-02-01; 5 runs in 5 minutes' in text and 'a trial' not in text
    assert '](report.png)' in text
    assert 'a trial, not a result' in evidence.evidence_markdown(experiments, 3, 'smoke', 'report.png')
    evidence.draw_evidence_figure(experiments, tmp_path / 'report.png')
    assert cv2.imread(str(tmp_path / 'report.png')).std() > 5


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
    monkeypatch.setattr(evidence, 'DATASETS', {'digits': lambda root: evidence.write_sizes(root, 8, 4)})
    monkeypatch.setattr(subprocess, 'call', lambda command: pytest.fail(f'ran {command}'))
    main(['--data-only', '--out', str(tmp_path), '--report', str(tmp_path / 'report.md')])
    assert len(list(tmp_path.glob('data/digits/train/*/*.png'))) == 8 and not (tmp_path / 'report.md').exists()


@pytest.mark.slow
def test_one_run_for_real(tmp_path, monkeypatch):
    """Train and test a config on a few images, as tools/misc/evidence.py does; then the report alone."""
    pytest.importorskip('mmpretrain')
    monkeypatch.setitem(evidence.DATASETS, 'digits', lambda root: evidence.write_sizes(root, 8, 4))
    monkeypatch.setitem(evidence.DATASETS, 'sizes', lambda root: evidence.write_sizes(root, 8, 4))
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
    argv = ['--seeds', '2', '--schedule', 'smoke', '--device', 'cpu', '--out', str(tmp_path / 'out'), '--report',
            str(tmp_path / 'docs' / 'evidence.md')]
    main(argv)
    assert len(ran) == 1 and 'train.py' in str(ran[0])
    log = next(Path(ran[0][ran[0].index('--work-dir') + 1]).glob('*/vis_data/scalars.json')).read_text()
    assert '"loss"' in log and 'accuracy/top1' in log
    text = (tmp_path / 'docs' / 'evidence.md').read_text()
    assert text.count('| Res2Net-26 |') == 2 and (tmp_path / 'docs' / 'evidence.png').is_file()
    monkeypatch.setattr(subprocess, 'call', lambda command: pytest.fail(f'ran {command}'))
    main(argv)  # everything is there
    with pytest.raises(SystemExit):
        main(['--seeds', '1'])


def test_help():
    shown = subprocess.run([sys.executable, TOOLS / 'misc' / 'evidence.py', '--help'], capture_output=True, text=True)
    assert shown.returncode == 0 and '--seeds N' in shown.stdout
