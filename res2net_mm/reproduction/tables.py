"""The paper's tables (``tables.yml``), the file of measured results, and one beside the other."""
import json
import math
import os
import sys
from collections import namedtuple
from pathlib import Path

import yaml

from ..utils.text import console, markdown_table

TABLES = Path(__file__).with_name('tables.yml')
ROLES = ('baseline', 'ours', 'gain')
# What a line of the results file must have to be put beside the paper.
RESULT_KEYS = {'config', 'config_hash', 'setting', 'schedule', 'from_scratch', 'data', 'options', 'train', 'test',
               'measured'}


def read_tables(path=TABLES):
    """Read tables of published numbers.

    Args:
        path (str | Path): A YAML file; the head of ``tables.yml`` explains its form. Metrics that it does not define
            are those of ``tables.yml``. Defaults to the paper's tables.

    Returns:
        dict[str, dict]: Tables by name, with ``title``, ``note``, ``metrics`` (by name, in the order of the columns;
        ``all_metrics`` are those of the file), ``settings`` ({None: None} where there are none) and ``rows`` by name,
        which have all keys, None where the file has nothing. A row's ``paper`` and ``official`` are
        {setting: {metric: number}}, its ``changes`` {dotted key: value} and its ``series`` a list of names.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not of that form.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"file of tables '{path}' does not exist")
    try:
        tables = yaml.safe_load(path.read_text(encoding='utf-8'))
        metrics = tables.pop('metrics', {})
        if path != TABLES:
            metrics = {**yaml.safe_load(TABLES.read_text(encoding='utf-8'))['metrics'], **metrics}
        return {name: _complete(name, table, metrics) for name, table in tables.items()}
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f'{path} is not a file of tables: {type(error).__name__}: {error}') from error
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error


def _complete(name, table, metrics):
    unknown = set(table['columns']) - set(metrics)
    if unknown:
        raise ValueError(f'{name}: columns {", ".join(sorted(unknown))} are not among the metrics')
    settings = table.get('settings') or {None: None}
    rows = {}
    for key, row in table['rows'].items():
        row = {'split': None, 'twin': None, 'config': None, 'changes': {}, 'series': [], 'paper': None,
               'official': None, 'data': table.get('data'), **row}
        row['series'] = [row['series']] if isinstance(row['series'], str) else row['series']
        if row['role'] not in ROLES:
            raise ValueError(f'{name}, row {key}: role {row["role"]!r} must be one of {", ".join(ROLES)}')
        if row['twin'] and row['twin'] not in table['rows']:
            raise ValueError(f'{name}, row {key}: its twin {row["twin"]!r} is not a row of {name}')
        if not isinstance(row['changes'], dict) or not all(isinstance(setting, str) for setting in row['changes']):
            raise ValueError(f'{name}, row {key}: changes {row["changes"]!r} must be values by dotted key, as in '
                             '{model.backbone.scales: 2}')
        if not isinstance(row['series'], list):
            raise ValueError(f'{name}, row {key}: series {row["series"]!r} must be a name or a list of names')
        if row['series'] and len(table['columns']) < 2:
            raise ValueError(f'{name}, row {key}: series need two columns, which are the axes of the figure')
        for source in ('paper', 'official'):
            numbers = row[source] or {}
            numbers = numbers if isinstance(numbers, dict) else {None: numbers}
            if not set(numbers) <= set(settings) or any(len(n) > len(table['columns']) for n in numbers.values()):
                raise ValueError(f'{name}, row {key}: {source} must have a number per column'
                                 + (f' for each of {", ".join(settings)}' if None not in settings else ''))
            row[source] = {
                setting: {column: number for column, number in zip(table['columns'], n) if number is not None}
                for setting, n in numbers.items()
            }
        rows[key] = dict(row, name=key, table=name)
    columns = {column: {'decimals': 1, **metrics[column]} for column in table['columns']}
    return dict(title=table['title'], note=table.get('note', ''), settings=settings, metrics=columns, rows=rows,
                all_metrics=metrics)


def measure(metrics, log, setting=None):
    """The metrics that the log of a test holds, in the paper's units; None where there was nothing to evaluate."""
    found = {}
    for name, metric in metrics.items():
        value = log.get(log_key(metric, setting))
        if value is not None:
            # COCO's evaluation says -1 where there are no objects of a size.
            nothing = value == -1 or math.isnan(value)
            found[name] = None if nothing else round(metric.get('plus', 0) + metric.get('times', 1) * value, 6)
    return found


def log_key(metric, setting):
    """What ``tools/test.py`` calls a metric."""
    return metric.get('log', '').format(setting=setting)


def read_results(path):
    """The results in a file, one JSON object a line; a line that is none is named on stderr and left out."""
    path = Path(path)
    results = []
    for number, line in enumerate(path.read_bytes().splitlines() if path.is_file() else [], 1):
        try:
            result = json.loads(line)
            missing = RESULT_KEYS - set(result)
        except (ValueError, TypeError) as error:
            print(f'{path}, line {number} is left out: it is not a result ({error})', file=sys.stderr)
            continue
        if missing:
            print(f'{path}, line {number} is left out: it has no {", ".join(sorted(missing))}', file=sys.stderr)
        else:
            results.append(result)
    return results


def append_result(path, result):
    """Add a line to a results file: in one piece, on the disk on return, and never onto half a line left by a crash."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(result, allow_nan=False).encode() + b'\n'
    with open(path, 'ab+', buffering=0) as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b'\n':
                line = b'\n' + line
        file.write(line)
        os.fsync(file.fileno())


# Measured beside published: one line per row, setting and metric. Numbers are text, '' where there is none,
# and '-' where a test had nothing to report.
Line = namedtuple('Line', 'row setting metric paper measured paper_gain measured_gain')
HEADS = Line('row', 'setting', 'metric', 'paper', 'measured', 'paper, minus twin', 'measured, minus twin')
STAR = "*: of the authors' repository; the paper has no such number"


def kind(result):
    """What kind of run a result is of: 'full', 'short, from scratch', ..."""
    return result['schedule'] + (', from scratch' if result['from_scratch'] else '')


def caution(kind):
    """What a reader must know about the numbers of a kind of run; '' for the full schedule."""
    return '' if kind == 'full' else f'Schedule {kind}: NOT comparable with the paper, whose schedule is the full one.'


def compare(table, results):
    """Put results, all of one kind, beside the published numbers of a table.

    A twin's result counts only if it is of the same data and options, and numbers of two settings never meet.

    Returns:
        list[Line]: For every row and setting that was measured.
    """
    lines = []
    for row in table['rows'].values():
        twin = table['rows'].get(row['twin'])
        for setting in table['settings']:
            result = latest(results, row, setting)
            if not result:
                continue
            twin_result = twin and latest(results, twin, setting, like=result)
            for name, metric in table['metrics'].items():
                number, star = published(row, setting, name)
                measured = result['measured'].get(name)
                if number is None and measured is None:
                    continue
                twin_number, twin_star = published(twin, setting, name) if twin else (None, '')
                twin_measured = twin_result['measured'].get(name) if twin_result else None
                digits = metric['decimals']
                lines.append(Line(
                    row['name'], setting or '', metric['label'],
                    text(number, digits, star), text(measured, digits) or '-',
                    text(minus(number, twin_number), digits, star or twin_star, sign='+'),
                    text(minus(measured, twin_measured), digits, sign='+')))
    return lines


def is_of(result, row):
    """Whether a result is of a row: of its config with its changes (older lines of a results file have none)."""
    return (bool(row['config']) and result['config'] == Path(row['config']).name
            and result.get('changes', {}) == row['changes'])


def latest(results, row, setting, like=None):
    """The newest result of a row; with ``like`` a result, the newest one of the same data and options."""
    found = [result for result in results if is_of(result, row) and result['setting'] == setting
             and (like is None or all(result[key] == like[key] for key in ('data', 'options')))]
    return max(found, key=lambda result: result['test']['date'], default=None)


def published(row, setting, metric):
    """The paper's number and '', or that of the authors' repository and '*', or None and ''."""
    for source, star in (('paper', ''), ('official', '*')):
        number = row[source].get(setting, {}).get(metric)
        if number is not None:
            return number, star
    return None, ''


def minus(a, b):
    return None if a is None or b is None else a - b


def text(number, digits, star='', sign=''):
    return '' if number is None else f'{number:{sign}.{digits}f}{star}'


def print_comparison(table, results, kind):
    """Print a table's measured rows beside the paper's numbers."""
    from rich.table import Table
    lines = compare(table, results)
    empty = [not any(column) for column in zip(*lines)] or [False] * len(HEADS)
    shown = Table(title=f'{table["title"]}: schedule {kind}', caption=STAR if starred(lines) else None)
    for head, skip in zip(HEADS, empty):
        if not skip:
            shown.add_column(head, justify='left' if head in HEADS[:3] else 'right', overflow='fold')
    for i, line in enumerate(lines):
        last_of_row = i + 1 == len(lines) or lines[i + 1][:2] != line[:2]
        shown.add_row(*(cell for cell, skip in zip(line, empty) if not skip), end_section=last_of_row)
    console().print(shown, table['note'].strip(), caution(kind), sep='\n', markup=False, highlight=False)


def print_settings(table, log):
    """Print what one test measured in each setting beside the numbers of the table's rows.

    Args:
        table (dict): One of ``read_tables``, whose metrics are logged as 'SETTING/...'.
        log (dict[str, float]): What was measured.
    """
    from rich.table import Table
    rows = [row for row in table['rows'].values() if row['paper']]
    shown = Table(title=f'{table["title"]}: measured, and the paper')
    shown.add_column('setting')
    for metric in table['metrics'].values():
        shown.add_column(metric['label'], justify='right')
        for row in rows:
            shown.add_column(f'{row["model"]} (paper)', justify='right', style='dim')
    for setting in dict.fromkeys(key.partition('/')[0] for key in log):
        measured = measure(table['metrics'], log, setting)
        cells = []
        for name, metric in table['metrics'].items():
            numbers = [measured.get(name), *(published(row, setting, name)[0] for row in rows)]
            cells += [text(number, metric['decimals']) or '-' for number in numbers]
        shown.add_row(setting, *cells)
    console().print(shown, table['note'].strip(), sep='\n')


def markdown(tables, results, figures):
    """The results as Markdown: per table and kind of run, measured beside published, and what each number is of.

    Args:
        tables (dict): From :func:`read_tables`.
        results (list[dict]): From :func:`read_results`.
        figures (dict[tuple, str]): Files of figures, by the name of the table and the kind of run.
    """
    sections = []
    for name, table in tables.items():
        mine = [result for result in results if any(is_of(result, row) for row in table['rows'].values())]
        for each in sorted({kind(result) for result in mine}):
            of_kind = [result for result in mine if kind(result) == each]
            lines, drawn = compare(table, of_kind), figures.get((name, each))
            sections += [f'## {name}: {table["title"]}, schedule {each}', table['note'].strip(),
                         f'**{caution(each)}**' if caution(each) else '', markdown_table(HEADS, lines),
                         STAR.replace('*', '\\*') if starred(lines) else '',
                         f'![{table["title"]}]({drawn})' if drawn else '',
                         'Measured with:',
                         markdown_table(PROVENANCE, [provenance(row['name'], result) for row in table['rows'].values()
                                                     for setting in table['settings']
                                                     for result in [latest(of_kind, row, setting)] if result])]
    return '\n\n'.join(section for section in sections if section) + '\n'


def starred(lines):
    return any('*' in line.paper + line.paper_gain for line in lines)


PROVENANCE = ('row', 'setting', 'config', 'changes', 'options', 'data', 'batch', 'device', 'training', 'test', 'commit',
              'date')


def provenance(row, result):
    """What a result was measured with, in the order of PROVENANCE."""
    training, test = result['train'], result['test']
    recipe = f' (recipe: {result["recipe_batch_size"]})' if result['recipe_batch_size'] else ''
    commit, _, dirty = (training['commit'] or '').partition(' ')
    return (row, result['setting'] or '', result['config'], changes_text(result.get('changes', {})),
            ' '.join(result['options']), result['data'] or '',
            f'{result["batch_size"]}{recipe}', f'{training["devices"]} x {training["device"]}',
            f'{training["seconds"]:.0f} s', f'{test["seconds"]:.0f} s',
            f'{commit[:8]} {dirty}'.rstrip(), test['date'][:10])


def changes_text(changes):
    return ' '.join(f'{key}={value}' for key, value in changes.items())

