"""The command ``tools/reproduce.py``: train and test the rows of a table, or report on what was measured."""
from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import DictAction

from ..reproduction.html_report import write_html_report
from ..reproduction.plans import RunSettings
from ..reproduction.report import list_tables, settings_table, write_report
from ..reproduction.results import Result, read_results
from ..reproduction.runs import Output, reproduce_table
from ..reproduction.schedules import SCHEDULES
from ..reproduction.tables import EVIDENCE_TABLES, Row, Table, read_tables
from ..utils.errors import UserError
from ..utils.text import console
from .arguments import device_argument
from .command import fail, run_command

USAGE = """Train and test the rows of a table of the paper, and put what was measured beside its numbers.

Without TABLE: list the tables and their rows. What is finished is not run again, and what was interrupted goes on from
its last checkpoint: repeat the command. Every finished test adds one line to the results file."""
SITE, SITE_FILE = 'site', 'report.html'  # for --report: the page beside the runs
INTERRUPTED = 'interrupted; the same command goes on from the last checkpoint'


def main(argv: Sequence[str] | None = None) -> None:
    """Reproduce a table: the command ``tools/reproduce.py``."""
    args = _parse_arguments(argv)
    try:
        run_command(_run, args, errors=(UserError, OSError, ValueError))
    except KeyboardInterrupt:
        fail(INTERRUPTED)


def _parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command's arguments."""
    parser = argparse.ArgumentParser(description=USAGE, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('table', nargs='?', metavar='TABLE', help='table5, ...')
    parser.add_argument('--rows', nargs='+', metavar='ROW', help='only these rows of the table')
    parser.add_argument('--data', nargs='+', default=[], metavar='[NAME=]DIR',
                        help="the data's folder; for a table of several datasets name each: coco=DIR voc07=DIR")
    parser.add_argument('--schedule', choices=list(SCHEDULES), default='full',
                        help='full: the config as it is; short: a tenth; smoke: a few iterations (full)')
    parser.add_argument('--from-scratch', action='store_true', help='random weights, nothing frozen')
    device_argument(parser)
    parser.add_argument('--gpus', type=int, default=1, metavar='N',
                        help='GPUs, or with --device cpu processes, per training (1)')
    parser.add_argument('--test-gpus', type=int, metavar='N', help='the same per test (as --gpus)')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE',
                        help='override settings of the configs: train_dataloader.batch_size=16')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/reproduce'), metavar='DIR',
                        help='where the runs go (work_dirs/reproduce)')
    parser.add_argument('--results', type=Path, nargs='+', default=[], metavar='FILE',
                        help='results file (results.jsonl in --out); --report reads several')
    parser.add_argument('--tables', type=Path, metavar='FILE',
                        help="other tables (the paper's, and the experiments of docs/evidence.md)")
    parser.add_argument('--dry-run', action='store_true', help='print the commands, run nothing')
    parser.add_argument('--stop-on-error', action='store_true', help='do not go on to the next row after one failed')
    parser.add_argument('--report', type=Path, metavar='FILE',
                        help='only write a report: FILE.md has what was measured as Markdown tables; FILE.html is a '
                        f"page of the paper's tables with charts, also without results; {SITE} is {SITE_FILE} in --out")
    args = parser.parse_args(argv)
    for name, number in (('--gpus', args.gpus), ('--test-gpus', args.test_gpus)):
        if number is not None and number < 1:
            parser.error(f'argument {name}: {number} must be at least 1')
    if len(args.results) > 1 and not args.report:
        parser.error(f'argument --results: {len(args.results)} files are for --report alone; runs write one')
    return args


def _run(args: argparse.Namespace) -> None:
    """List the tables, report on them, or reproduce one, as the arguments say."""
    tables = read_tables(args.tables) if args.tables else {**read_tables(), **read_tables(EVIDENCE_TABLES)}
    settings = RunSettings(
        out=args.out, results=next(iter(args.results), None), schedule=args.schedule, from_scratch=args.from_scratch,
        device=args.device, gpus=args.gpus, test_gpus=args.test_gpus, options=_parse_options(args.cfg_options),
        option_arguments=args.cfg_options, dry_run=args.dry_run, stop_on_error=args.stop_on_error)
    if args.table and args.table not in tables:
        fail(f"no table '{args.table}'; there are:\n{list_tables(tables)}")
    if args.report:
        chosen = {args.table: tables[args.table]} if args.table else tables
        path = args.out / SITE_FILE if args.report == Path(SITE) else args.report
        if path.suffix == '.html':
            ours = [] if args.table or args.tables else list(read_tables(EVIDENCE_TABLES))  # the page is on the paper
            chosen = {name: table for name, table in chosen.items() if name not in ours}
            _write_page(path, chosen, args.results, settings.results_file)
        else:
            _report_results(path, chosen, args.results or [settings.results_file])
    elif not args.table:
        print(list_tables(tables))
    else:
        table = tables[args.table]
        rows = _choose_rows(table, args.rows)
        reproduce_table(table, rows, _data_folders(args.data, rows), settings, terminal_output())


def terminal_output() -> Output:
    """Progress on the terminal, what fails on stderr."""
    return Output(log=partial(print, flush=True), warn=_print_warning, show=lambda table: console().print(table))


def _print_warning(message: str) -> None:
    """Print to stderr."""
    print(message, file=sys.stderr, flush=True)


def print_settings(table: Table, log: Mapping[str, float]) -> None:
    """Print what one test measured in each setting beside the numbers of the table's rows.

    Args:
        table (Table): A table whose metrics are logged as 'SETTING/...'.
        log (Mapping[str, float]): What was measured.
    """
    console().print(settings_table(table, log), table.note.strip(), sep='\n')


def _parse_options(arguments: Sequence[str]) -> dict[str, Any]:
    """Parse ``--cfg-options`` as tools/train.py does."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    try:
        return parser.parse_args(['--cfg-options', *arguments] if arguments else []).cfg_options
    except ValueError as error:
        raise UserError(f'--cfg-options {" ".join(arguments)}: wanted is KEY=VALUE') from error


def _read_all(files: Sequence[Path]) -> list[Result]:
    """Read results files, all of which must be there."""
    for file in files:
        if not file.is_file():
            fail(f"--report: results file '{file}' does not exist")
    return [result for file in files for result in read_results(file, _print_warning)]


def _report_results(path: Path, tables: Mapping[str, Table], files: Sequence[Path]) -> None:
    """Write results as Markdown, and the figures of their tables beside it."""
    results = _read_all(files)
    try:
        figures = write_report(path, tables, results)
    except OSError as error:
        fail(f'--report {path}: {error.strerror}')
    print(f'Wrote {", ".join([str(path), *(figure.name for figure in figures)])}')


def _write_page(path: Path, tables: Mapping[str, Table], named: Sequence[Path], usual: Path) -> None:
    """Write the HTML page: of the results files that are named, or else of the usual one if there is one."""
    files = named or [file for file in [usual] if file.is_file()]
    results = _read_all(files)
    try:
        write_html_report(path, tables, results, files)
    except OSError as error:
        fail(f'--report {path}: {error.strerror}')
    print(f'Wrote {path}, with {len(results)} results')


def _choose_rows(table: Table, names: Sequence[str] | None) -> list[Row]:
    """The rows to run: those of ``--rows``, or all that have a config."""
    if table.nets_of:
        fail(f'{table.name} trains nothing: it measures the nets of {table.nets_of}; '
             f'python tools/misc/evidence.py {table.name} does that')
    rows = {row.name: row for row in table.models}
    wanted = names or list(rows)
    unknown = [name for name in wanted if name not in rows]
    if unknown:
        fail(f"--rows: {table.name} has no row {', '.join(unknown)}; it has {', '.join(rows)}")
    without = [name for name in wanted if not rows[name].config]
    if without and (names or len(without) == len(rows)):
        fail(f'{table.name}: no config yet for {", ".join(without)}')
    if without:
        print(f'{table.name}: no config yet for {", ".join(without)}; left out')
    return [rows[name] for name in dict.fromkeys(wanted) if rows[name].config]


def _data_folders(arguments: Sequence[str], rows: Sequence[Row]) -> dict[str | None, str]:
    """Parse ``--data`` as {name of a dataset: folder}."""
    needed = list(dict.fromkeys(row.data for row in rows))
    folders = {}
    for argument in arguments:
        name, equals, folder = argument.rpartition('=')
        if not equals and len(needed) > 1:
            fail(f'--data {argument}: the rows need {" and ".join(map(str, needed))}; name each: '
                 + ' '.join(f'{name}=DIR' for name in needed))
        if equals and name not in needed:
            fail(f'--data {argument}: no row needs {name!r}; needed is {", ".join(map(str, needed))}')
        folders[name or needed[0]] = str(Path(folder).resolve())
    return folders
