"""The command ``tools/misc/evidence.py``: Res2Net beside ResNet on data that anyone can get, with several seeds."""
from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..reproduction.evidence import is_measured, publish_results, run_experiments, seed_settings, write_datasets
from ..reproduction.evidence_page import write_page
from ..reproduction.plans import plan_run
from ..reproduction.results import Result, RunRecord, append_result, read_results
from ..reproduction.runs import make_result
from ..reproduction.schedules import SCHEDULES
from ..reproduction.tables import EVIDENCE_TABLES, Table, read_tables
from ..utils.errors import UserError
from ..utils.provenance import now, provenance
from .arguments import device_argument
from .command import TOOL_ERRORS, fail, run_command
from .reproduce import INTERRUPTED, terminal_output


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is missing, and write the page: the command ``tools/misc/evidence.py``."""
    args = _parse_arguments(argv)
    try:
        run_command(_run, args, errors=TOOL_ERRORS)
    except KeyboardInterrupt:
        fail(INTERRUPTED)


def _parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command's arguments."""
    parser = argparse.ArgumentParser(description='Train the twins of evidence.yml, Res2Net and ResNet of equal cost, '
                                     'with several seeds, and write docs/evidence.md. What is finished is not run '
                                     'again; what was interrupted goes on.')
    parser.add_argument('tables', nargs='*', metavar='TABLE', help='only these: cifar10, ecssd, ... (all for a CPU '
                                                                   'whose data is there)')
    parser.add_argument('--data', nargs='+', default=[], metavar='NAME=DIR',
                        help='folders as tools/misc/prepare_data.py makes them; digits and sizes are made here')
    parser.add_argument('--schedule', choices=list(SCHEDULES), default='full',
                        help='full: the configs as they are; short: a tenth; smoke: a few iterations (full)')
    device_argument(parser)
    parser.add_argument('--data-only', action='store_true', help='make digits and sizes, and stop')
    parser.add_argument('--report-only', action='store_true',
                        help='run nothing: publish what has ended, and write the page')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/evidence'), metavar='DIR',
                        help='where data and runs go (work_dirs/evidence)')
    parser.add_argument('--published', type=Path, default=Path('docs/results/evidence/results.jsonl'), metavar='FILE',
                        help='the results of which the page is made; the figures go beside it (%(default)s)')
    parser.add_argument('--report', type=Path, default=Path('docs/evidence.md'), metavar='FILE.md',
                        help='the page (docs/evidence.md)')
    return parser.parse_args(argv)


def _run(args: argparse.Namespace) -> None:
    """Make the data, run what is missing, and write the page."""
    tables, output = read_tables(EVIDENCE_TABLES), terminal_output()
    published = read_results(args.published, output.warn)
    if args.report_only:
        settings = seed_settings(args.out / 'runs', args.schedule, args.device, seed=0)
        results = read_results(settings.results_file, output.warn)
    else:
        given = _data_folders(args.data, tables)
        chosen = choose_tables(args.tables, tables, given)
        data = {**given, **write_datasets(args.out / 'data', [str(_data_of(table)) for table in chosen], output.log)}
        if args.data_only:
            return
        trained = [table for table in chosen if not table.nets_of]
        results = run_experiments(trained, data, published, args.out / 'runs', args.schedule, args.device, output)
        for table in chosen:
            if table.nets_of:
                results = look(table, data, args, [*published, *results])
    published = publish_results(args.published, results, published, tables.values())
    figures = write_page(args.report, list(tables.values()), published, args.published, args.schedule, EVIDENCE_TABLES)
    print(f'Wrote {", ".join(map(str, [args.report, *figures]))}')


def look(table: Table, data: dict[str, str], args: argparse.Namespace, results: Sequence[Result]) -> list[Result]:
    """Measure where nets look that another table has trained, and that were not measured yet; returns all results."""
    from ..analysis.looks import measure_looks
    from ..datasets.saliency_folders import find_pairs
    folder, results = data[str(_data_of(table))], list(results)
    for row in table.runnable_rows:
        for seed in range(row.seeds):
            settings = seed_settings(args.out / 'runs', args.schedule, args.device, seed)
            run = plan_run(row, folder, settings)
            if is_measured(run, results) or not run.pointer.is_file():
                continue
            print(f'{row.full_name}, seed {seed}: where it looks', flush=True)
            entries = run.cfg.test_dataloader.dataset.sets
            pairs = [pair for entry in entries for pair in find_pairs(folder, entry)]
            record, started = RunRecord(**provenance(args.device)), time.monotonic()
            checkpoint = run.folder / Path(run.pointer.read_text().strip()).name
            measured = measure_looks(str(run.config_file), str(checkpoint), pairs, args.device or 'cpu')
            record = replace(record, seconds=round(time.monotonic() - started, 1), date=now())
            result = make_result(run, None, settings, record, measured)
            append_result(settings.results_file, result)
            results.append(result)
    return results


def _data_of(table: Table) -> str | None:
    """The dataset of a table, which is that of all its rows."""
    return next(iter(table.rows.values())).data


def choose_tables(names: Sequence[str], tables: dict[str, Table], given: dict[str, str]) -> list[Table]:
    """The tables to run: those that are named, or all for a CPU whose data is given or made here.

    Raises:
        UserError: If there is no such table, or its data is not given.
    """
    from ..reproduction.evidence import GENERATED
    unknown = [name for name in names if name not in tables]
    if unknown:
        raise UserError(f'no table {unknown[0]}; there are {", ".join(tables)}')
    there = {*given, *GENERATED}
    without = [name for name in names if _data_of(tables[name]) not in there]
    if without:
        data = _data_of(tables[without[0]])
        raise UserError(f'{without[0]} needs its data: --data {data}=DIR, as tools/misc/prepare_data.py makes it')
    return [tables[name] for name in names] or [
        table for table in tables.values() if _data_of(table) in there and not table.needs_gpu]


def _data_folders(arguments: Sequence[str], tables: dict[str, Table]) -> dict[str, str]:
    """Parse ``--data`` as {name of a dataset: folder}.

    Raises:
        UserError: If it is not of that form, no table has such data, or there is no such folder.
    """
    names = sorted({str(_data_of(table)) for table in tables.values()})
    folders = {}
    for argument in arguments:
        name, equals, folder = argument.partition('=')
        if not equals or name not in names:
            raise UserError(f'--data {argument}: must be NAME=DIR, with a name of {", ".join(names)}')
        if not Path(folder).is_dir():
            raise UserError(f"--data {argument}: folder '{folder}' does not exist")
        folders[name] = str(Path(folder).resolve())
    return folders
