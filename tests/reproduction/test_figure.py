"""The figure of a table."""
from dataclasses import replace

import cv2
from result_cases import command, sample_result

from res2net_mm.cli import reproduce
from res2net_mm.reproduction.figure import SeriesPoint, draw_series_figure, series_panels
from res2net_mm.reproduction.results import RunRecord, append_result
from res2net_mm.reproduction.tables import read_tables

FIG5 = read_tables()['fig5']


def points(*names, **changes):
    """Results of rows of Figure 5; the later the row, the larger and the better."""
    return [sample_result(FIG5.rows[name], 'fig5', measured=dict(params_m=10. + place, top1=80. + place), **changes)
            for place, name in enumerate(names)]


def test_series_of_figure_5():
    rows = FIG5.rows.values()
    keys = dict(scale='model.backbone.scales', cardinality='model.backbone.groups', depth='model.backbone.depth')
    assert {name: [row.name for row in rows if name in row.series] for name in keys} == {
        'scale': ['start', *(f'scale{scale}' for scale in range(2, 7))],
        'cardinality': ['start', *(f'cardinality{groups}' for groups in (12, 18, 24, 30, 36))],
        'depth': ['start', *(f'depth{depth}' for depth in (47, 74, 101, 128, 155))]}
    for row in rows:
        series = row.series[0]
        assert row.changes == ({} if row.name == 'start' else {keys[series]: int(row.name[len(series):])})


def test_lines_of_a_figure():
    """All three start in one point; a mean is over the newest result of every seed; nothing is mixed."""
    results = points('start', 'scale3', 'scale2', 'cardinality12')
    [lines] = series_panels(FIG5, results).values()
    start = SeriesPoint(10, [80], '')
    assert lines == {'scale': [start, SeriesPoint(11, [81], '3'), SeriesPoint(12, [82], '2')],
                     'cardinality': [start, SeriesPoint(13, [83], '12')], 'depth': [start]}
    results[0] = replace(results[0], seed=0, options=['randomness.seed=0'])
    more = [replace(results[0], seed=seed, options=[f'randomness.seed={seed}'], test=RunRecord(date),
                    measured=dict(params_m=10., top1=accuracy))
            for seed, date, accuracy in ((1, '2026-02-01', 82.), (2, '2026-02-01', 87.), (1, '2026-03-01', 84.))]
    [lines] = series_panels(FIG5, results + more).values()
    assert lines['depth'] == [SeriesPoint(10, [80, 84, 87], '')]
    other = points('start', 'depth47', data='mini/', options=['a=1', 'randomness.seed=3'])
    apart = series_panels(FIG5, results + other)
    assert list(apart) == ['data/', 'mini/ a=1']
    assert apart['mini/ a=1'] == {'scale': [start], 'cardinality': [start],
                                  'depth': [start, SeriesPoint(11, [81], '47')]}
    assert series_panels(FIG5, points('start')[:0]) == {}
    untested = [replace(result, measured=dict(params_m=10.)) for result in results]
    assert series_panels(FIG5, untested) == {}


def test_figure_is_drawn(tmp_path, capsys):
    path = tmp_path / 'results.jsonl'
    results = [*points('start', 'scale2', 'cardinality12', 'depth47', 'depth74'), *points('start', schedule='short')]
    for result in results:
        append_result(path, result)
    reproduce.main(['fig5', '--report', str(tmp_path / 'report.md'), '--results', str(path)])
    assert 'fig5.png, fig5_short.png' in capsys.readouterr().out
    image = cv2.imread(str(tmp_path / 'fig5.png'))
    for colour in ((31, 119, 180), (255, 127, 14), (44, 160, 44)):  # matplotlib's first three: a line each
        assert (image == colour[::-1]).all(-1).sum() > 100
    full, short = (tmp_path / 'report.md').read_text().split('schedule short')
    assert '](fig5.png)' in full and '](fig5_short.png)' in short
    assert '| scale2 | top-1 accuracy % | 81.00 | +1.00 |' in full
    results = [replace(result, from_scratch=True) for result in results]
    drawn = draw_series_figure(FIG5, results, 'full, from scratch', tmp_path)
    assert drawn == tmp_path / 'fig5_full_from_scratch.png' and drawn.is_file()


def test_table_without_series_has_no_figure(folder, played, capsys):
    table = read_tables()['table7']
    results = [sample_result(table.rows['r50'], measured={'miou': 78})]
    assert draw_series_figure(table, results, 'full', folder) is None
    text = (folder / 'tables.yml').read_text()
    reproduce.main(command(folder))
    assert 'Figure:' not in capsys.readouterr().out and not list(folder.glob('**/*.png'))
    (folder / 'tables.yml').write_text(text.replace('role: baseline', 'role: baseline, series: depth'))
    reproduce.main(command(folder))
    assert f'Figure: {folder / "out" / "shapes.png"}' in capsys.readouterr().out
    assert (folder / 'out' / 'shapes.png').is_file()
