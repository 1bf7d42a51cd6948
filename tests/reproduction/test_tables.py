"""The committed numbers of the paper, and what is wrong with a file of tables."""
import re

import pytest
from helpers import CONFIGS

from res2net_mm.reproduction.tables import read_tables


def numbers(table, source):
    return [(row.name, setting, metric, number) for row in table.rows.values()
            for setting, by_metric in getattr(row, source).items() for metric, number in by_metric.items()]


def test_all_187_numbers_of_the_paper():
    by_table = {name: numbers(table, 'paper') for name, table in read_tables().items()}
    assert by_table.pop('fig5') == []
    assert {name: len(values) for name, values in by_table.items()} == dict(
        table1=27, table2=6, table3=29, table4=22, table5=6, table6=24, table7=7, table8=30, table9=16, table10=20)
    assert {name: sum(number for *_, number in values) for name, values in by_table.items()} == pytest.approx(dict(
        table1=392.88, table2=84.0, table3=994.26, table4=581.64, table5=316.3, table6=643.4, table7=552.4,
        table8=1168.4, table9=7.443, table10=1564.5))
    for name, row, setting, metric, number in [
        ('table1', 'r2n50', None, 'top1_err', 22.01), ('table3', 'r2n50_18w4s', None, 'runtime_ms', 106),
        ('table5', 'voc07_r2n50', None, 'voc_map', 74.4), ('table6', 'r50', None, 'box_ar_large', 61.6),
        ('table7', 'r2n101', None, 'miou', 80.2), ('table8', 'r2n50_18w6s', None, 'mask_ap75', 38.1),
        ('table9', 'r2n50', 'dut_omron', 'mae', 0.071), ('table10', 'r2n101', 'gt_boxes', 'kpt_ap_large', 78.5)]:
        assert (row, setting, metric, number) in by_table[name]


def test_official_numbers_agree_with_the_papers():
    for table in read_tables().values():
        for row in table.rows.values():
            for setting, paper in row.paper.items():
                official = row.official.get(setting, {})
                assert {**official, **paper} == {**paper, **official}
    assert len(numbers(read_tables()['table8'], 'official')) == 7 * 12


def test_gain_row_is_the_difference():
    rows = read_tables()['table6'].rows
    assert rows['gain'].paper[None] == pytest.approx({
        metric: rows['r2n50'].paper[None][metric] - number for metric, number in rows['r50'].paper[None].items()})


def test_every_config_that_a_table_names_exists():
    named = {row.config for table in read_tables().values() for row in table.rows.values() if row.config}
    assert sorted(named - {path.name for path in CONFIGS.rglob('*.py')}) == []


@pytest.mark.parametrize('change, message', [
    (('twin: r50', 'twin: r5'), "row r2n26: its twin 'r5' is not a row"),
    (('role: ours', 'role: best'), "role 'best' must be one of baseline, ours, gain"),
    (('box_ap50]', 'box_ap5]'), 'columns box_ap5 are not among the metrics'),
    (('[33.7, 53.6]', '[33.7, 53.6, 1]'), 'row r2n26: paper must have a number per column'),
    (('title:', 'titel:'), "KeyError: 'title'"),
    (('[33.7', '[33.7]'), 'not a file of tables'),
    (('role: baseline', 'role: baseline, chagnes: {}'), "unexpected keyword argument 'chagnes'"),
    (('twin: r50', 'changes: scales'), "row r2n26: changes 'scales' must be values by dotted key"),
    (('twin: r50', 'changes: {2: 3}'), 'row r2n26: changes {2: 3} must be values by dotted key'),
    (('twin: r50', 'series: 3'), 'row r2n26: series 3 must be a name or a list of names'),
    (('columns: [box_ap, box_ap50]', 'columns: [box_ap]'), 'row r50: paper must have a number per column'),
])
def test_wrong_file_of_tables(change, message, folder):
    path = folder / 'tables.yml'
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        read_tables(path)
    assert str(path) in str(error.value)
