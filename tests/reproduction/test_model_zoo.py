"""docs/model_zoo.md: made by this code, every config once, and no number in the column of somebody else."""
import json
import re

import pytest
import yaml
from helpers import CONFIGS, ROOT

from res2net_mm.analysis.metafiles import FOLDERS
from res2net_mm.models.public_weights import BY_HAND, WEIGHTS, find_tested_weights
from res2net_mm.reproduction.model_zoo import (
    DOCS,
    SECTIONS,
    Quotation,
    ZooRow,
    _configs,
    _measured,
    _row_of_config,
    _row_of_weights,
    model_zoo,
    read_timings,
    zoo_rows,
)
from res2net_mm.reproduction.model_zoo_figure import accuracy_points, draw_accuracy
from res2net_mm.reproduction.results import Result, RunRecord, TrainingRecord, read_results
from res2net_mm.reproduction.tables import EVIDENCE_TABLES, read_tables

COMMAND = 'python -m res2net_mm.reproduction.model_zoo'
PAGE = (ROOT / 'docs' / 'model_zoo.md').read_text(encoding='utf-8')
TABLES = {**read_tables(), **read_tables(EVIDENCE_TABLES)}


def committed_cells():
    """The cells of the page, line by line of its tables."""
    lines = [line for line in PAGE.splitlines() if line.startswith('| ') and not line.startswith(('| config', '| ---'))]
    return [line.strip('| ').split(' | ') for line in lines]


@pytest.mark.slow
def test_the_committed_page_is_what_the_code_writes():
    results = [result for file in sorted((DOCS / 'results').rglob('*.jsonl')) for result in read_results(file, print)]
    assert model_zoo(zoo_rows(TABLES, results, read_timings())) == PAGE, COMMAND


def test_every_config_and_all_weights_stand_on_the_page_once():
    configs = [cells[0] for cells in committed_cells() if cells[0] != '-']
    models = [f'[{model["Name"]}](../{model["Config"]})' for folder in FOLDERS
              for model in yaml.safe_load((CONFIGS / folder / 'metafile.yml').read_text())['Models']]
    assert sorted(configs) == sorted(models), COMMAND
    weights = [cells[1].strip('`').removeprefix('res2net_mm://') for cells in committed_cells()]
    assert all(weights.count(row.name) == 1 for row in (*WEIGHTS, *BY_HAND)), COMMAND


def test_the_columns_are_of_different_people():
    """The paper's numbers name a table of it, others never; ours name a command and a date, others never."""
    rows = committed_cells()
    assert {len(cells) for cells in rows} == {8}
    sources = [{source for cells in rows for source in re.findall(r'\(([^()]*)\)(?=;|$)', cells[column])}
               for column in (5, 6, 7)]
    paper, published, ours = sources
    assert paper and all(re.fullmatch(r'Table \d+', source) for source in paper)
    publishers = {accuracy.source for row in (*WEIGHTS, *BY_HAND) for accuracy in row.accuracies} - {'timm'}
    assert {source.partition(':')[0] for source in published} == {*publishers, "the authors' repository"}
    assert all(re.fullmatch(r'`tools/reproduce\.py \w+ --rows \w+`, \d{4}-\d\d-\d\d', source) for source in ours)
    assert not paper & published and not paper & ours and not published & ours


def test_numbers_of_each_column():
    """Of every row: the paper's numbers are in its tables, the publisher's are in the table of public weights."""
    for config, weights, *_, paper, published, ours in committed_cells():
        name = re.match(r'\[(\w+)\]', config)
        rows = [row for table in TABLES.values() for row in table.models
                if name and row.config == f'{name[1]}.py' and not row.changes]
        printed = {number for row in rows for values in row.paper.values() for number in values.values()}
        quoted = re.sub(r'\(.*?\)|top-\d|AP\d+|^-$', '', paper)
        assert {float(number) for number in re.findall(r'\d+\.\d+', quoted)} <= printed
        official = {number for row in rows for values in row.official.values() for number in values.values()}
        row = next((row for row in (*WEIGHTS, *BY_HAND) if weights == f'`res2net_mm://{row.name}`'), None)
        known = official | {value for accuracy in (row.accuracies if row else ()) for value in accuracy.values}
        assert {float(number) for number in re.findall(r'\d+\.\d+', re.sub(r'\(.*?\)', '', published))} <= known
        assert ours == '-' or name


def sample_result(row, date='2026-01-01', **changed):
    values = dict(table=row.table, row=row.name, model=row.model, split=row.split, setting=None, config=row.config,
                  changes=row.changes, config_hash='0', schedule='full', from_scratch=False, options=[], data='data/',
                  seed=None, batch_size=16, recipe_batch_size=16, train=TrainingRecord(date), test=RunRecord(date),
                  measured={}, paper={})
    return Result(**{**values, **changed})


def measured(table, row, metrics, *results):
    return [str(quotation) for quotation in _measured([(TABLES[table], TABLES[table].rows[row])], results, metrics)]


def test_ours_is_of_the_recipe_alone():
    row = TABLES['table7'].rows['r2n50_26w4s']
    result = sample_result(row, measured={'miou': 78.9})
    assert measured('table7', row.name, ('miou', ), result) == [
        'mIoU 78.9 (`tools/reproduce.py table7 --rows r2n50_26w4s`, 2026-01-01)']
    others = [sample_result(row, measured={'miou': 78.9}, **changed) for changed in (
        dict(schedule='short'), dict(from_scratch=True), dict(options=['a=1']), dict(batch_size=4),
        dict(changes={'model.backbone.scales': 2}), dict(config='deeplabv3plus_r50_voc12aug.py'))]
    assert measured('table7', row.name, ('miou', ), *others) == []
    assert measured('table7', row.name, ('box_ap', ), result) == []


def test_ours_is_the_mean_of_seeds():
    row = TABLES['cifar10'].rows['rx29']
    results = [sample_result(row, measured={'top1': top1}, seed=seed, options=[f'randomness.seed={seed}'],
                             date=date) for seed, top1, date in (
        (0, 10., '2026-01-01T00'), (0, 70., '2026-01-02T00'), (1, 71., '2026-01-01T00'), (2, 72., '2026-01-03T00'))]
    [text] = measured('cifar10', 'rx29', ('top1', ), *results)
    assert text == 'top-1 accuracy % 71.00 ±1.00 (3 seeds) (`tools/reproduce.py cifar10 --rows rx29`, 2026-01-03)'


def row_of(name):
    section = next(section for section in SECTIONS if _configs((name, )) and _configs((name, ))[0] in
                   _configs(section.names))
    [path] = _configs((name, ))
    return _row_of_config(path, find_tested_weights(path), section, TABLES, [], read_timings())


def test_rows_of_configs():
    row = row_of('imagenet_r2n50_26w4s')
    assert (row.weights, row.cost) == ('`res2net_mm://res2net50_26w4s`', (25699120, 4255166464))
    assert [quotation.source for quotation in row.paper] == ['Table 1'] and row.ours == ()
    larger = row_of('imagenet_r2n50_26w4s_299')  # times are of images of 224
    assert larger.cost[1] > row.cost[1] and row.speed and not larger.speed
    backbone = row_of('simplebaseline_r50_coco')
    assert backbone.weights == 'from `torchvision://resnet50`' and backbone.speed == '1.00 ±0.00'
    assert [str(quotation) for quotation in backbone.paper] == ['detected_boxes: AP 70.4 (Table 10)']
    assert [str(quotation) for quotation in backbone.published] == ["gt_boxes: AP 72.4 (the authors' repository)"]
    assert row_of('imagenet_inception_v3').cost is None
    assert f'{row_of("cifar100_r2nx29_6c24w4s").cost[0] / 1e6:.3f}' == '24.302'  # without norms, as in Table 4


def test_what_others_measured_is_not_the_publishers():
    row = next(row for row in WEIGHTS if row.name == 'res2net200_vd_ssld')  # the authors quote an error of it
    [quotation] = _row_of_weights(row, {}).published
    assert quotation.text == '85.1 / 97.4 top-1 / top-5 accuracy, %' and 'distilled' in quotation.source


def test_empty_cells():
    page = model_zoo({'A': [ZooRow('', '`x`', None, '', ours=(Quotation('mIoU 1.0', 'y'), ))]})
    assert '| - | `x` | - | - | - | - | - | mIoU 1.0 (y) |' in page


def test_timings(tmp_path):
    row = dict(preset='a', source='res2net_mm', path='eager', batch_size=1, to_baseline=dict(median=2, low=1, high=2))
    files = {'inference': [row, {**row, 'preset': 'b', 'batch_size': 8}, {**row, 'preset': 'c', 'source': 'timm'}],
             'eager': [{**row, 'to_baseline': dict(median=3, low=3, high=3)},
                       {**row, 'preset': 'd', 'to_baseline': None}]}
    for name, rows in files.items():
        (tmp_path / 'results' / name).mkdir(parents=True)
        (tmp_path / 'results' / name / 'benchmark.json').write_text(json.dumps(dict(rows=rows)))
    assert read_timings(tmp_path) == {'a': '2.00 ±0.50'}


def test_points_of_the_figure(tmp_path):
    points = accuracy_points({'table2': TABLES['table2']})
    assert ('ResNet-101', 'baseline', 'paper', 7.801, 77.37) in [(*point[:3], round(point[3], 3), point[4])
                                                                for point in points]
    assert not any(name == 'DenseNet-161' for name, *_ in points)
    published = {(name, top1) for name, _, whose, _, top1 in points if whose == 'published'}
    assert ('Res2Net-50 26w×4s', 77.99) in published and ('Res2Net-vd-50', 79.8) in published
    assert max(top1 for _, top1 in published) < 82  # none of the distilled ones
    draw_accuracy(points, tmp_path / 'zoo.png')
    assert (tmp_path / 'zoo.png').stat().st_size > 10000
