"""The report as one HTML file."""
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from result_cases import sample_result

from res2net_mm.cli import reproduce
from res2net_mm.reproduction.html_report import html_report, report_lines
from res2net_mm.reproduction.results import append_result
from res2net_mm.reproduction.svg_charts import BarValue, bar_chart, line_chart
from res2net_mm.reproduction.tables import read_tables

TABLES = read_tables()
VOID = {'meta', 'link', 'br', 'img', 'input', 'hr'}


class Reader(HTMLParser):
    """Tags with their attributes, and the cells of tables; fails on a tag that is not closed."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.open, self.texts = [], [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append(data.strip())


def results_of_several_schedules():
    r50, r2n50 = (TABLES['table6'].rows[name] for name in ('r50', 'r2n50'))
    sizes = dict(box_ap_small=12.3, box_ap_medium=34.5, box_ap_large=45.6)
    return [sample_result(r50, 'table6', measured=sizes),
            sample_result(r2n50, 'table6', measured={**sizes, 'box_ap_large': 50.1}),
            sample_result(r50, 'table6', 'short', measured=dict(box_ap_small=1.5, box_ap_medium=2.5, box_ap_large=3.5)),
            sample_result(r50, 'table6', 'smoke', from_scratch=True, measured=dict(box_ap=0.1))]


def section(page, name):
    return page.split(f'<section aria-labelledby="{name}">')[1].split('</section>')[0]


def test_without_results_every_row_and_number_occurs():
    page = html_report(TABLES, [])
    texts = Reader(page).texts
    assert 'every number is quoted' in ' '.join(texts)
    for table in TABLES.values():
        part = section(page, table.name)
        assert f'href="#{table.name}"' in page
        for row in table.rows.values():
            assert re.search(rf'<span>{row.full_name}\b', part), row.full_name
            for source in (row.paper, row.official):
                for numbers in source.values():
                    for name, number in numbers.items():
                        assert f'<td class="number">{number:.{table.metrics[name].decimals}f}</td>' in part
        assert 'schedule</th>' not in part and '>ours<' not in part
    assert '2 of 2 rows' not in page


def test_several_schedules():
    page = html_report(TABLES, results_of_several_schedules(), ['folder/mine.jsonl'])
    part = section(page, 'table6')
    assert '4 results from mine.jsonl, the newest of 2026-01-01' in page and 'folder' not in page
    assert '2 of 2 rows measured' in page
    assert 'Schedule short: NOT comparable' in part and 'Schedule smoke, from scratch: NOT comparable' in part
    assert 'Schedule full' not in part and 'NOT comparable' not in section(page, 'table7')
    texts = Reader(part).texts
    assert '50.1 Res2Net-50, ours, full' in texts and '1.5 ResNet-50, ours, short' in texts
    assert '13.5 ResNet-50, paper' in texts
    assert [texts[texts.index('12.3') + shift] for shift in (-1, 1, 2)] == ['ours', '34.5', '45.6']
    assert '<td>2026-01-01</td><td>01234567 dirty</td><td>data/</td>' in part
    assert '<rect class="ours partial"' in part and part.count('<rect class="ours"') == 6


def test_lines_of_a_row_do_not_mix():
    row = TABLES['table7'].rows['r50']
    results = [sample_result(row, measured={'miou': 70.}, seed=0, date='2026-01-01', options=['randomness.seed=0']),
               sample_result(row, measured={'miou': 10.}, seed=1, date='2026-01-01', options=['randomness.seed=1']),
               sample_result(row, measured={'miou': 74.}, seed=1, date='2026-01-02', options=['randomness.seed=1']),
               sample_result(row, measured={'miou': 50.}, data='mini/'),
               sample_result(row, measured={'miou': 40.}, batch_size=4, options=['a=1'])]
    lines = report_lines(TABLES['table7'], row, results)
    assert [(line.whose, line.kind, line.numbers, line.conditions) for line in lines] == [
        ('paper', '', ['77.7'], ''), ('ours', 'full', ['72.0 ±2.8'], 'data/, 2 seeds'),
        ('ours', 'full', ['50.0'], 'mini/'), ('ours', 'full', ['40.0'], 'data/, a=1, batch 4')]


def test_keypoints_are_told_apart_by_boxes():
    table = TABLES['table10']
    result = sample_result(table.rows['r2n50'], 'table10', setting='detected_boxes', measured={'kpt_ap': 70.9})
    drawn = re.findall(r'<text [^>]*y="(\d+)">([^<]+)</text>', section(html_report(TABLES, [result]), 'table10'))
    bars = [text for _, text in sorted(drawn, key=lambda bar: int(bar[0]))]
    detected = bars.index('detected boxes')
    assert bars[0] == 'ground-truth boxes' and '73.7 Res2Net-50, paper' in bars[:detected]
    assert {'71.5 Res2Net-50, repository', '70.9 Res2Net-50, ours, full', '70.4 ResNet-50, paper'} <= set(
        bars[detected:])
    lines = report_lines(table, table.rows['r2n50'], [result])
    assert [(line.setting, line.whose, line.values['kpt_ap']) for line in lines] == [
        ('ground-truth boxes', 'paper', 73.7), ('detected boxes', "authors' repository", 71.5),
        ('detected boxes', 'ours', 70.9)]


def test_curves_of_figure_5():
    rows = TABLES['fig5'].rows
    results = [sample_result(rows[name], 'fig5', measured=dict(params_m=float(place), top1=80. + place))
               for place, name in enumerate(('start', 'scale2', 'depth47'), 7)]
    part = section(html_report(TABLES, results), 'fig5')
    assert part.count('<polyline') == 4  # the paper's points, and three lines of ours
    assert '<title>Res2NeXt-29 6c24w4s: 83.02</title>' in part and '<title>2: 88.00</title>' in part
    assert 'Figure 5, ours: schedule full, data/' in part
    alone = html_report({'fig5': TABLES['fig5']}, [])
    assert '<svg' not in alone and 'no number, neither published nor measured' in alone


def test_text_is_escaped():
    bad = '<script>alert("&")</script>'
    row = TABLES['table6'].rows['r50']
    changed = replace(TABLES['table6'], title=bad, note=bad, rows={'r50': replace(row, model=bad)})
    results = [sample_result(row, 'table6', measured=dict(box_ap_small=1.), data=bad, options=[f'a={bad}'])]
    page = html_report({'table6': changed}, results, [f'x/{bad.replace("/", "")}'])
    assert '<script' not in page and 'alert' in page
    assert all(tag != 'script' and not any(name.startswith('on') for name in attributes)
               for tag, attributes in Reader(page).tags)


def test_page_needs_nothing_else_and_is_accessible():
    page = html_report(TABLES, results_of_several_schedules())
    tags = Reader(page).tags
    addresses = [value for _, attributes in tags for name, value in attributes.items()
                 if name in ('src', 'href', 'srcset', 'data', 'action', 'xlink:href')]
    ids = [attributes['id'] for _, attributes in tags if 'id' in attributes]
    assert addresses and all(value == 'data:,' or value[1:] in ids for value in addresses)
    assert not re.search(r'url\(|@import|https?:|<script', page)
    assert len(ids) == len(set(ids))
    charts = [attributes for tag, attributes in tags if tag == 'svg']
    assert len(charts) >= 4 and all(chart['role'] == 'img' and chart['aria-label'] for chart in charts)
    for part in page.split('<section')[1:]:
        assert part.count('<svg') == 0 or '<table>' in part
    assert page.count('<div class="scroll" tabindex="0"') == page.count('<table>')
    assert 'prefers-color-scheme: dark' in page and '<html lang="en">' in page


def test_times_are_those_of_the_measurement():
    part = section(html_report(TABLES, []), 'table3')
    assert re.search(r'<th scope="row">res2net50_14w8s</th><td class="number">1</td><td class="number">1.15</td>'
                     r'<td class="number">1\.\d\d</td>', part)
    assert 'Time beside' not in section(html_report(TABLES, []), 'table7')


def test_command(tmp_path, capsys):
    first, second = tmp_path / 'a.jsonl', tmp_path / 'b.jsonl'
    one, two, *_ = results_of_several_schedules()
    append_result(first, one)
    append_result(second, two)
    reproduce.main(['--report', 'site', '--out', str(tmp_path / 'new'), '--results', str(first), str(second)])
    page = (tmp_path / 'new' / 'report.html').read_text(encoding='utf-8')
    assert '2 results from a.jsonl, b.jsonl' in page and 'id="table10"' in page and 'id="ecssd"' not in page
    reproduce.main(['--report', 'site', '--out', str(tmp_path / 'empty')])
    assert 'no results yet' in (tmp_path / 'empty' / 'report.html').read_text(encoding='utf-8')
    reproduce.main(['table6', '--report', str(tmp_path / 'six.html'), '--out', str(tmp_path / 'empty')])
    assert 'id="table7"' not in (tmp_path / 'six.html').read_text(encoding='utf-8')
    reproduce.main(['--report', str(tmp_path / 'both.md'), '--results', str(first), str(second)])
    assert '| r2n50 |' in (tmp_path / 'both.md').read_text(encoding='utf-8')
    assert 'with 2 results' in capsys.readouterr().out


@pytest.mark.parametrize('arguments, message', [
    (['--report', 'site', '--results', 'nosuch.jsonl'], "'nosuch.jsonl' does not exist"),
    (['--report', 'folder.html'], 'folder.html: Is a directory')])
def test_wrong_files(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'folder.html').mkdir()
    with pytest.raises(SystemExit) as stop:
        reproduce.main(arguments)
    assert message in str(stop.value.code)


def test_runs_write_one_results_file(capsys):
    with pytest.raises(SystemExit):
        reproduce.main(['table7', '--results', 'a', 'b'])
    assert '--results: 2 files are for --report alone' in capsys.readouterr().err


def test_places_of_bars_and_lines():
    values = [BarValue('a', 'x', 20., '20', 'ours'), BarValue('b', 'y', 5., '5', 'ours'),
              BarValue('a', 'z', 10., '10', 'ours')]
    chart = bar_chart('t', values)
    assert [name for _, name in chart.heads] == ['a', 'b']
    assert [(bar.label, bar.width) for bar in chart.bars] == [('x', 140), ('z', 70), ('y', 35)]
    assert [bar.y for bar in chart.bars] == sorted({bar.y for bar in chart.bars}) and chart.bars[-1].y < chart.height
    assert bar_chart('t', []) is None and line_chart('t', 'x', 'y', {'a': []}) is None
    chart = line_chart('t', 'x', 'y', {'none': [], 'a': [(1., 10., ''), (3., 30., '')]})
    [line] = chart.lines
    (x1, y1, _), (x2, y2, _) = line.points
    assert line.name == 'a' and x1 < x2 and y1 > y2
    assert [number for _, number in chart.y_ticks] == ['10', '15', '20', '25', '30']
    assert line_chart('t', 'x', 'y', {'a': [(1., 0., '')]}).lines  # one point has no span
