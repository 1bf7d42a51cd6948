"""The model zoo: ``python -m res2net_mm.reproduction.model_zoo`` writes docs/model_zoo.md and docs/results/zoo.png.

A row is a config, or public weights that no config tests. Its numbers are read from the table of public weights, the
paper's tables and the committed results; nothing is written down here.
"""
from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..checkpoints.weights import SCHEME, Weights
from ..models.complexity import count
from ..models.names import RES2NET_ARGUMENTS, find_name, resolve
from ..models.public_weights import BY_HAND, WEIGHTS, find_tested_weights
from ..utils.config import load_config, packaged_configs
from ..utils.text import markdown_table, mean_and_deviation
from .results import Result, newest_by_seed, read_results
from .tables import EVIDENCE_TABLES, Row, Table, read_tables

DOCS = packaged_configs().resolve().parent / 'docs'
HEADS = ('config', 'weights', 'M params', 'G multiply-adds', 'time / ResNet-50', 'paper', 'published', 'ours')
NOTHING = '-'
PAGE = """# Model zoo

<!-- python -m res2net_mm.reproduction.model_zoo -->

*M params* and *G multiply-adds* are counted here, of the backbone with a classifier as in
[Parameters and multiply-adds](complexity.md), whatever the task, and *time / ResNet-50* is measured here, of the same
without acceleration on a CPU with one image of 224²: the median over the rounds ± half the distance of the quartiles
([inference](results/inference/benchmark.md), [eager](results/eager/benchmark.md)). *Paper* is what a table of the
[paper](https://arxiv.org/abs/1904.01169) prints, and *published* what whoever trained the weights (mmpretrain: whoever
converted them), or the authors' repository for a model without public weights, says of them
([Public weights](weights.md)): both are quotations, and nobody here has measured them. *Ours* is what this project has
measured with the config's own data and whole schedule, with the command and the date. *-* means that there is no such
number: it is not printed, not published or not measured; *from* names the weights that a backbone starts from where
nobody has published weights of the whole model.

{sections}

## Accuracy and cost

![ImageNet top-1 accuracy against multiply-adds](results/zoo.png)

Multiply-adds as counted here; the accuracies are those of the columns *paper* and *published* above, and none is ours.
Left out are models whose multiply-adds are not counted here, and weights that were distilled with further images
(SSLD).
"""


@dataclass(frozen=True)
class Section:
    """A task.

    Args:
        title (str): Its head.
        names (tuple[str]): The names of its configs, as patterns of fnmatch.
        metrics (tuple[str]): The metrics of the tables that stand here, by name.
    """

    title: str
    names: tuple[str, ...]
    metrics: tuple[str, ...]


SECTIONS = (
    Section('Classification', ('imagenet_*', 'cifar*', 'digits_*', 'sizes_*'), ('top1_err', 'top5_err', 'top1')),
    Section('Detection', ('faster_rcnn_*', 'cascade_rcnn_*', 'vfnet_*'), ('voc_map', 'box_ap')),
    Section('Instance masks', ('mask_rcnn_*', 'cascade_mask_rcnn_*', 'htc_*'), ('box_ap', 'mask_ap')),
    Section('Segmentation', ('deeplabv3plus_*', 'upernet_*'), ('miou', 'kvasir_dice', 'kvasir_iou')),
    Section('Keypoints', ('simplebaseline_*', ), ('kpt_ap', )),
    Section('Salient objects', ('dss_*', ), ('f_measure', 'mae', 'ecssd_f', 'ecssd_mae')),
)


@dataclass(frozen=True)
class Quotation:
    """Numbers of one source.

    Args:
        text (str): The numbers with their metrics.
        source (str): Whose they are: a table of the paper, a publisher, or a command of this project with its date.
    """

    text: str
    source: str

    def __str__(self) -> str:
        return f'{self.text} ({self.source})'


@dataclass(frozen=True)
class ZooRow:
    """A row of the page.

    Args:
        config (str): The config's path in configs/; '' for weights that no config tests.
        weights (str): The weights, as Markdown.
        cost (tuple[int, int] | None): Parameters and multiply-adds; None where they are not counted.
        speed (str): Time beside ResNet-50; '' where it is not measured.
        paper (tuple[Quotation]): The paper's numbers.
        published (tuple[Quotation]): Numbers of whoever trained the model.
        ours (tuple[Quotation]): Numbers of this project.
    """

    config: str
    weights: str
    cost: tuple[int, int] | None
    speed: str
    paper: tuple[Quotation, ...] = ()
    published: tuple[Quotation, ...] = ()
    ours: tuple[Quotation, ...] = ()


def zoo_rows(tables: Mapping[str, Table], results: Sequence[Result],
             timings: Mapping[str, str]) -> dict[str, list[ZooRow]]:
    """Collect the rows of the page.

    Args:
        tables (Mapping[str, Table]): Tables by name: the paper's, and experiments of this project.
        results (Sequence[Result]): What was measured here, of any schedule.
        timings (Mapping[str, str]): Times beside ResNet-50 by architecture, as of :func:`read_timings`.

    Returns:
        dict[str, list[ZooRow]]: By section: the configs, then the public weights that none of them tests.
    """
    rows: dict[str, list[ZooRow]] = {}
    tested: list[str] = []
    for section in SECTIONS:
        rows[section.title] = []
        for path in _configs(section.names):
            weights = find_tested_weights(path)
            tested += [weights.name] if weights else []
            rows[section.title].append(_row_of_config(path, weights, section, tables, results, timings))
    rows[SECTIONS[0].title] += [_row_of_weights(weights, timings) for weights in (*WEIGHTS, *BY_HAND)
                                if weights.name not in tested]
    return rows


def model_zoo(rows: Mapping[str, Sequence[ZooRow]]) -> str:
    """Write docs/model_zoo.md.

    Args:
        rows (Mapping[str, Sequence[ZooRow]]): The rows by section.
    """
    sections = [f'## {title}\n\n{markdown_table(HEADS, [_cells(row) for row in of_section])}'
                for title, of_section in rows.items()]
    return PAGE.format(sections='\n\n'.join(sections))


def read_timings(docs: Path = DOCS) -> dict[str, str]:
    """Read the times of our classifiers beside ResNet-50's from the committed benchmarks.

    Args:
        docs (Path): The folder of the documentation. Defaults to that of this project.

    Returns:
        dict[str, str]: Median ± half the distance of the quartiles by architecture: eager, one image, CPU.
    """
    timings: dict[str, str] = {}
    for name in ('inference', 'eager'):
        for row in json.loads((docs / 'results' / name / 'benchmark.json').read_text(encoding='utf-8'))['rows']:
            ratio = row['to_baseline']
            if (row['source'], row['path'], row['batch_size']) == ('res2net_mm', 'eager', 1) and ratio:
                spread = (ratio['high'] - ratio['low']) / 2
                timings.setdefault(row['preset'], f'{ratio["median"]:.2f} ±{spread:.2f}')
    return timings


def config_cost(cfg: Config) -> tuple[int, int] | None:
    """Count parameters and multiply-adds of a config's backbone with a classifier, as docs/complexity.md does.

    Args:
        cfg (Config): A config of any task.

    Returns:
        tuple[int, int] | None: None for a backbone that this project does not build.
    """
    architecture = _architecture(cfg)
    return _count(_sorted(architecture), _image_size(cfg)) if architecture else None


def _configs(names: Sequence[str]) -> list[Path]:
    """The configs of these names, without bases, demos and those that learn a few images by heart."""
    return sorted((path for path in packaged_configs().rglob('*.py')
                   if path.parent.name not in ('_base_', 'overfit')
                   and any(fnmatchcase(path.stem, name) for name in names)), key=lambda path: path.stem)


def _row_of_config(path: Path, weights: Weights | None, section: Section, tables: Mapping[str, Table],
                   results: Sequence[Result], timings: Mapping[str, str]) -> ZooRow:
    cfg = load_config(path)
    start = (cfg.model.backbone.get('init_cfg') or {}).get('checkpoint')
    name = f'`{SCHEME}{weights.name}`' if weights else f'from `{start}`' if start else ''
    rows = [(table, row) for table in tables.values() for row in table.models
            if row.config == path.name and not row.changes]
    paper: list[Quotation] = []
    official: list[Quotation] = []
    for table, row in rows:
        for quotations, whose, numbers in (
                (paper, f'Table {table.name.removeprefix("table")}', row.paper),
                (official, "the authors' repository", row.official)):
            _add(quotations, whose, (
                _numbers(table, {metric: [value] for metric, value in values.items()}, setting, section.metrics)
                for setting, values in numbers.items()))
    published = (_publishers(weights) if weights else ()) + tuple(official)
    return ZooRow(path.relative_to(packaged_configs()).as_posix(), name, config_cost(cfg), _speed(cfg, timings),
                  tuple(paper), published, tuple(_measured(rows, results, section.metrics)))


def _row_of_weights(weights: Weights, timings: Mapping[str, str]) -> ZooRow:
    row = resolve(weights.architecture)
    return ZooRow('', f'`{SCHEME}{weights.name}`', _count(_sorted(row.config), row.input_size),
                  timings.get(row.name, ''), published=_publishers(weights))


def _publishers(weights: Weights) -> tuple[Quotation, ...]:
    """What the publisher of weights says of them; not what others have measured with them."""
    note = ', distilled with further images' if 'SSLD' in weights.note else ''
    return tuple(Quotation(f'{" / ".join(map(str, accuracy.values))} {accuracy.metric}',
                           f'{accuracy.source}: {accuracy.protocol}{note}')
                 for accuracy in weights.accuracies if accuracy.source == weights.accuracies[0].source)


def _add(quotations: list[Quotation], source: str, texts: Iterable[str]) -> None:
    """Add what is not there yet: two tables may have the same numbers of a config."""
    for text in texts:
        if text and text not in [quotation.text for quotation in quotations]:
            quotations.append(Quotation(text, source))


def _numbers(table: Table, values: Mapping[str, Sequence[float | None]], setting: str | None,
             metrics: Sequence[str]) -> str:
    """Numbers with the labels of their metrics, of several seeds their mean; '' if there are none of these metrics."""
    parts = []
    for name in metrics:
        known = [value for value in values.get(name, ()) if value is not None]
        if known:
            metric, seeds = table.all_metrics[name], f' ({len(known)} seeds)' if len(known) > 1 else ''
            parts.append(f'{metric.label} {mean_and_deviation(known, metric.decimals)}{seeds}')
    return (f'{setting}: ' if setting and parts else '') + ', '.join(parts)


def _measured(rows: Sequence[tuple[Table, Row]], results: Sequence[Result],
              metrics: Sequence[str]) -> list[Quotation]:
    """What was measured with the recipe as it is, the newest of every seed: mean ± standard deviation."""
    quotations: list[Quotation] = []
    for table, row in rows:
        for setting in table.settings:
            newest = newest_by_seed(
                result for result in results if result.belongs_to(row) and result.setting == setting
                and _is_the_recipe(result) and any(result.measured.get(metric) is not None for metric in metrics))
            values = {metric: [result.measured.get(metric) for result in newest.values()] for metric in metrics}
            date = max((result.test.date for result in newest.values()), default='')[:10]
            _add(quotations, f'`tools/reproduce.py {table.name} --rows {row.name}`, {date}',
                 [_numbers(table, values, setting, metrics)])
    return quotations


def _is_the_recipe(result: Result) -> bool:
    """Whether a result is of the whole schedule, the recipe's batch and no options but the seed."""
    return (result.kind == 'full' and not result.options_but_seed
            and result.recipe_batch_size in (None, result.batch_size))


def _architecture(cfg: Config) -> dict[str, Any] | None:
    """The backbone of a config as one of ours, whole and without what does not change its cost; None if it is none."""
    backbone = cfg.model.backbone
    if 'dcn' in backbone or backbone.type in ('DenseNet', 'InceptionV3'):
        return None
    if backbone.type in ('ResNet', 'ResNetV1d'):
        later = backbone.type == 'ResNetV1d'
        return {'type': 'res2net_mm.Res2Net', **resolve(f'resnet{backbone.depth}').arguments, 'deep_stem': later,
                'avg_down': later}
    given = {key: value for key, value in backbone.items()
             if key in (*RES2NET_ARGUMENTS, 'base_channels') and key != 'stage_pool' and value is not None}
    arguments = resolve(backbone.arch).arguments if backbone.get('arch') else (
        RES2NET_ARGUMENTS if backbone.type == 'res2net_mm.Res2Net' else {})
    return {'type': backbone.type, **arguments, **given}


def _speed(cfg: Config, timings: Mapping[str, str]) -> str:
    """The time of a config's backbone beside ResNet-50; '' where it is not measured, as with images of another size."""
    architecture = _architecture(cfg)
    if architecture is None or _image_size(cfg) != 224:
        return ''
    arguments = {key: value for key, value in architecture.items() if key != 'type'}
    return timings.get(find_name(architecture['type'], arguments) or '', '')


def _image_size(cfg: Config) -> int:
    """The side of the crop that a classifier of ImageNet is tested with; 224 for all that does not crop."""
    crops = [step.crop_size for step in cfg.get('test_pipeline') or [] if step.type == 'CenterCrop']
    return crops[0] if crops else 224


@lru_cache(maxsize=None)
def _count(backbone: tuple[tuple[str, Any], ...], image_size: int) -> tuple[int, int]:
    """Count once what many configs have."""
    if dict(backbone)['type'] == 'res2net_mm.CifarRes2NeXt':
        return count(dict(backbone), 32, 100, norms=False)
    return count(dict(backbone), image_size)


def _sorted(backbone: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """A backbone as what can be looked up."""
    return tuple(sorted(backbone.items()))


def _cells(row: ZooRow) -> tuple[str, ...]:
    config = f'[{Path(row.config).stem}](../configs/{row.config})' if row.config else ''
    cost = (f'{row.cost[0] / 1e6:.3f}', f'{row.cost[1] / 1e9:.3f}') if row.cost else ('', '')
    quoted = ('; '.join(map(str, quotations)) for quotations in (row.paper, row.published, row.ours))
    return tuple(cell or NOTHING for cell in (config, row.weights, *cost, row.speed, *quoted))


if __name__ == '__main__':
    from .model_zoo_figure import accuracy_points, draw_accuracy
    paper = read_tables()
    measured = [result for file in sorted((DOCS / 'results').rglob('*.jsonl')) for result in read_results(file, print)]
    rows = zoo_rows({**paper, **read_tables(EVIDENCE_TABLES)}, measured, read_timings())
    (DOCS / 'model_zoo.md').write_text(model_zoo(rows), encoding='utf-8')
    draw_accuracy(accuracy_points(paper), DOCS / 'results' / 'zoo.png')
