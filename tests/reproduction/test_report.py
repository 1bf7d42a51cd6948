"""Measured numbers beside the published ones."""
from result_cases import sample_result

from res2net_mm.cli import reproduce
from res2net_mm.reproduction.report import ComparisonLine, compare
from res2net_mm.reproduction.results import append_result
from res2net_mm.reproduction.tables import read_tables


def test_keypoints_of_the_two_kinds_of_boxes_do_not_mix():
    """The paper's own comparison is 3.3 and 3.0; like for like it is 1.1, 1.3 and 0.8."""
    table = read_tables()['table10']
    results = [sample_result(row, 'table10', setting=setting, measured={'kpt_ap': 70}) for row in table.rows.values()
               for setting in table.settings if row.config]
    gains = {(line.row, line.setting): line.paper_gain for line in compare(table, results) if line.metric == 'AP'}
    assert gains['r2n50', 'detected_boxes'] == '+1.1*' and gains['r2n50', 'gt_boxes'] == '+1.3*'
    assert gains['r2n101', 'detected_boxes'] == '+0.8*' and gains['r2n101', 'gt_boxes'] == ''


def test_latest_result_of_the_same_data_counts():
    table = read_tables()['table7']
    r50, r2n50 = table.rows['r50'], table.rows['r2n50_26w4s']
    results = [sample_result(r50, measured={'miou': 70}),
               sample_result(r50, measured={'miou': 77.04}, date='2026-02-01'),
               sample_result(r50, measured={'miou': 50}, data='mini/', date='2026-03-01'),
               sample_result(r2n50, measured={'miou': 79})]
    [_, line] = compare(table, results)
    assert line == ComparisonLine('r2n50_26w4s', '', 'mIoU', '79.2', '79.0', '+1.5', '+2.0')
    [line] = compare(table, results[3:])
    assert line.measured_gain == ''


def test_report(tmp_path):
    tables, path = read_tables(), tmp_path / 'results.jsonl'
    for row in ('r50', 'r2n50_26w4s'):
        append_result(path, sample_result(tables['table7'].rows[row], measured={'miou': 78}))
    append_result(path, sample_result(tables['table8'].rows['r101'], 'table8', 'short', measured={'mask_ap': 12.34}))
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
