"""What ``tools/reproduce.py`` does: train and test the rows of a paper table, and put them beside its numbers."""
import argparse
import hashlib
import json
import os
import shlex
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

from mmengine.config import Config

from ..cli.arguments import common_arguments, device_argument
from ..cli.command import fail
from ..utils.config import find_config, load_config, tool_path
from ..utils.config_edits import move_data_root
from ..utils.errors import UserError
from ..utils.provenance import now, provenance
from . import figure
from . import tables as paper
from .schedules import SCHEDULES, derived_config, difference, from_scratch

USAGE = """Train and test the rows of a table of the paper, and put what was measured beside its numbers.

Without TABLE: list the tables and their rows. What is finished is not run again, and what was interrupted goes on from
its last checkpoint: repeat the command. Every finished test adds one line to the results file."""

class RowError(Exception):
    """Why a row could not be reproduced."""


# One training: the config (a file); the changes that the row and the schedule make to it; the config as it will be run,
# its hash and the folder of that hash; where the data are; and what tools/train.py and tools/test.py are told alike.
Run = namedtuple('Run', 'config changes cfg hash folder data inputs')


def main(argv=None):
    """Reproduce a table: the command ``tools/reproduce.py``."""
    args = parse(argv)
    try:
        tables = paper.read_tables(args.tables)
        option_dict(args.cfg_options)
    except (OSError, ValueError) as error:
        fail(error)
    if args.table and args.table not in tables:
        fail(f"no table '{args.table}'; there are:\n{listing(tables)}")
    if args.report:
        chosen = {args.table: tables[args.table]} if args.table else tables
        write_report(args.report, chosen, args.results)
    elif not args.table:
        print(listing(tables))
    else:
        reproduce(tables[args.table], args)


def parse(argv):
    parser = argparse.ArgumentParser(description=USAGE, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('table', nargs='?', metavar='TABLE', help='table5, ...')
    parser.add_argument('--rows', nargs='+', metavar='ROW', help='only these rows of the table')
    parser.add_argument('--data', nargs='+', default=[], metavar='[NAME=]DIR',
                        help="the data's folder; for a table of several data sets name each: coco=DIR voc07=DIR")
    parser.add_argument('--schedule', choices=list(SCHEDULES), default='full',
                        help='full: the config as it is; short: a tenth; smoke: a few iterations (full)')
    parser.add_argument('--from-scratch', action='store_true', help='random weights, nothing frozen')
    device_argument(parser)
    parser.add_argument('--gpus', type=int, default=1, metavar='N',
                        help='GPUs, or with --device cpu processes, per run (1)')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE',
                        help='override settings of the configs: train_dataloader.batch_size=16')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/reproduce'), metavar='DIR',
                        help='where the runs go (work_dirs/reproduce)')
    parser.add_argument('--results', type=Path, metavar='FILE', help='results file (results.jsonl in --out)')
    parser.add_argument('--tables', type=Path, default=paper.TABLES, metavar='FILE',
                        help="tables other than the paper's")
    parser.add_argument('--dry-run', action='store_true', help='print the commands, run nothing')
    parser.add_argument('--stop-on-error', action='store_true', help='do not go on to the next row after one failed')
    parser.add_argument('--report', type=Path, metavar='FILE.md', help='only write the results file as Markdown tables')
    args = parser.parse_args(argv)
    if args.gpus < 1:
        parser.error(f'argument --gpus: {args.gpus} must be at least 1')
    # Absolute, since mmengine writes the paths of checkpoints into files.
    args.out = args.out.resolve()
    args.results = args.results or args.out / 'results.jsonl'
    return args


def option_dict(options):
    """``--cfg-options`` as tools/train.py will understand them."""
    try:
        return common_arguments('').parse_args(['', '--cfg-options', *options]).cfg_options if options else {}
    except ValueError as error:
        raise ValueError(f'--cfg-options {" ".join(options)}: wanted is KEY=VALUE') from error


def listing(tables):
    lines = []
    for name, table in tables.items():
        lines.append(f'{name}  {table["title"]}')
        for row in table['rows'].values():
            if row['role'] != 'gain':
                model = ' '.join(filter(None, (row['model'], row['split'])))
                lines.append(f'    {row["name"]:22} {model:28} {row["config"] or "no config yet"}')
    return '\n'.join(lines)


def write_report(path, tables, file):
    """Write the results file as Markdown, and the figures of its tables beside it."""
    if not file.is_file():
        fail(f"--report: results file '{file}' does not exist")
    results, figures = paper.read_results(file), {}
    try:
        for kind in sorted({paper.kind(result) for result in results}):
            for name, table in tables.items():
                drawn = figure.draw(name, table, results, kind, path.parent)
                if drawn:
                    figures[name, kind] = drawn.name
        path.write_text(paper.markdown(tables, results, figures), encoding='utf-8')
    except OSError as error:
        fail(f'--report {path}: {error.strerror}')
    print(f'Wrote {", ".join(map(str, [path, *figures.values()]))}')


def reproduce(table, args):
    """Run the chosen rows one after the other; a row that fails does not take the others with it."""
    rows = choose_rows(table, args)
    data = data_folders(args.data, rows)
    results, failures = paper.read_results(args.results), []
    for row in rows:
        try:
            reproduce_row(table, row, data.get(row['data']), results, args)
        except RowError as error:
            failures.append(f'{full_name(row)}: {error}')
            print(f'FAILED {failures[-1]}', file=sys.stderr, flush=True)
            if args.stop_on_error:
                break
        except KeyboardInterrupt:
            fail('interrupted; the same command goes on from the last checkpoint')
    if not args.dry_run:
        label = paper.kind(dict(schedule=args.schedule, from_scratch=args.from_scratch))
        of_kind = [result for result in results if paper.kind(result) == label]
        if paper.compare(table, of_kind):
            paper.print_comparison(table, of_kind, label)
            print(f'All results: {args.results}')
            drawn = figure.draw(args.table, table, results, label, args.results.parent)
            if drawn:
                print(f'Figure: {drawn}')
    if failures:
        fail(f'{len(failures)} of {len(rows)} rows failed:\n  ' + '\n  '.join(failures))


def choose_rows(table, args):
    """The rows to run: those of --rows, or all that have a config."""
    rows = {name: row for name, row in table['rows'].items() if row['role'] != 'gain'}
    wanted = args.rows or list(rows)
    unknown = [name for name in wanted if name not in rows]
    if unknown:
        fail(f"--rows: {args.table} has no row {', '.join(unknown)}; it has {', '.join(rows)}")
    without = [name for name in wanted if not rows[name]['config']]
    if without and (args.rows or len(without) == len(rows)):
        fail(f'{args.table}: no config yet for {", ".join(without)}')
    if without:
        print(f'{args.table}: no config yet for {", ".join(without)}; left out')
    return [rows[name] for name in dict.fromkeys(wanted) if rows[name]['config']]


def data_folders(arguments, rows):
    """--data as {name of a data set: folder}."""
    needed = list(dict.fromkeys(row['data'] for row in rows))
    folders = {}
    for argument in arguments:
        name, equals, folder = argument.rpartition('=')
        if not equals and len(needed) > 1:
            fail(f'--data {argument}: the rows need {" and ".join(needed)}; name each: '
                 + ' '.join(f'{name}=DIR' for name in needed))
        if equals and name not in needed:
            fail(f'--data {argument}: no row needs {name!r}; needed is {", ".join(needed)}')
        folders[name or needed[0]] = str(Path(folder).resolve())
    return folders


def reproduce_row(table, row, data, results, args):
    """Train, if that is not finished, and test what has no result yet."""
    run = plan(row, data, args)
    what = ' '.join(filter(None, (row['config'], paper.changes_text(row['changes']))))
    print(f'\n{full_name(row)}: {what}, schedule {args.schedule}, in {run.folder}', flush=True)
    note_batch(run, args)
    train(row, run, args)
    for setting, needed in table['settings'].items():
        where = f'{full_name(row)}{f", {setting}" if setting else ""}'
        found = [result for result in results if paper.is_of(result, row)
                 and (result['config_hash'], result['setting']) == (run.hash, setting)]
        if found:
            print(f'{where}: tested already, {found[-1]["test"]["date"]}')
        elif needed and not (Path(run.data or '') / needed).is_file():
            print(f'{where}: left out, it needs {Path(run.data or "") / needed}, which does not exist')
        else:
            result = test(table, row, run, setting, args)
            if result:
                paper.append_result(args.results, result)
                results.append(result)


def plan(row, data, args):
    """Work out a row's Run; nothing is written."""
    try:
        config = find_config(row['config']).resolve()
        whole = load_config(config)
        cfg = whole.to_dict()
        for key in row['changes']:
            if '.' in key and key.partition('.')[0] not in cfg:  # nobody would read it
                raise KeyError(key)
        whole.merge_from_dict(row['changes'])  # first, for they are the experiment, which the schedule cuts
        changed = SCHEDULES[args.schedule](whole.to_dict())
        if args.from_scratch:
            changed = from_scratch(changed)
        whole = Config(changed)
        if data:
            move_data_root(whole, data)
        whole.merge_from_dict(option_dict(args.cfg_options))
    except (OSError, ImportError) as error:
        raise RowError(error) from error
    except KeyError as error:
        raise RowError(f'{row["config"]} has no {error}') from error
    except UserError as error:  # --data for a config that has no data_root
        raise RowError(error) from error
    # default=str: a config may hold types.
    digest = hashlib.sha256(json.dumps(whole.to_dict(), default=str).encode()).hexdigest()[:12]
    folder = args.out / args.schedule / f'{config.stem}-{digest}'
    inputs = ['--data-root', data] if data else []
    inputs += ['--device', args.device] if args.device else []
    inputs += ['--cfg-options', *args.cfg_options] if args.cfg_options else []
    return Run(config, difference(cfg, changed), whole, digest, folder, data or whole.get('data_root'), inputs)


def note_batch(run, args):
    """Say so where the batch is not the recipe's."""
    batch, recipe = batch_sizes(run, args)
    if recipe and batch != recipe and args.schedule != 'smoke':
        iters = run.cfg.train_cfg.get('max_iters')
        images = f', but {iters} iterations see {"fewer" if batch < recipe else "more"} images' if iters else ''
        print(f"    batch {batch} instead of the recipe's {recipe}: the learning rate is scaled{images}; for the "
              f"recipe's: --cfg-options train_dataloader.batch_size={max(1, recipe // args.gpus)}")


def batch_sizes(run, args):
    """The batch over all devices, and the one that the recipe is for (None if it does not say)."""
    per_device = run.cfg.train_dataloader.get('batch_size')
    return per_device and per_device * args.gpus, run.cfg.get('auto_scale_lr', {}).get('base_batch_size')


def train(row, run, args):
    """Run tools/train.py, unless it ended well before."""
    log = run.folder / 'attempts.json'  # every start of the training: when, on what, how long, whether it ended well
    attempts = json.loads(log.read_text()) if log.is_file() else []
    if attempts and attempts[-1]['finished']:
        print(f'{full_name(row)}: trained already, {attempts[-1]["date"]}')
        return
    scale = ['--auto-scale-lr'] if batch_sizes(run, args)[1] else []
    command = tool(args, 'train.py', run_config(run), '--resume', *scale, '--work-dir', run.folder, *run.inputs)
    if args.dry_run:
        show(command)
        return
    run.folder.mkdir(parents=True, exist_ok=True)
    if run.changes:
        run_config(run).write_text(derived_config(
            run.config, run.changes, f'{run.config.name}, schedule {args.schedule}: written by tools/reproduce.py.'))
    attempt = dict(provenance(args.device), devices=args.gpus, seconds=0.0, finished=False)
    started = time.monotonic()
    try:
        code = execute(command)
        attempt['finished'] = code == 0
    finally:
        attempt['seconds'] = round(time.monotonic() - started, 1)
        unfinished = log.with_suffix('.unfinished')
        unfinished.write_text(json.dumps([*attempts, attempt], indent=1))
        os.replace(unfinished, log)
    if code:
        raise RowError(f'tools/train.py ended with exit code {code}; it said why above')


def test(table, row, run, setting, args):
    """Run tools/test.py, and return the line for the results file (None in a dry run)."""
    work_dir = run.folder / ('test' if setting is None else f'test_{setting}')
    pointer = run.folder / 'last_checkpoint'
    checkpoint = pointer.read_text().strip() if pointer.is_file() else run.folder / 'THE_LAST_CHECKPOINT.pth'
    command = tool(args, 'test.py', run_config(run), checkpoint, *(['--setting', setting] if setting else []),
                   '--work-dir', work_dir, *run.inputs)
    if args.dry_run:
        show(command)
        return None
    if not pointer.is_file():
        raise RowError(f'the training left no {pointer}')
    here, started = dict(provenance(args.device), devices=args.gpus), time.monotonic()
    code = execute(command)
    if code:
        raise RowError(f'tools/test.py ended with exit code {code}; it said why above')
    seconds = round(time.monotonic() - started, 1)
    log = max(work_dir.glob('*/*.json'), default=None)  # named by date
    if log is None:
        raise RowError(f'the test left no log in {work_dir}')
    attempts = json.loads((run.folder / 'attempts.json').read_text())
    batch, recipe = batch_sizes(run, args)
    return dict(
        table=row['table'], row=row['name'], model=row['model'], split=row['split'], setting=setting,
        config=run.config.name, changes=row['changes'], config_hash=run.hash, schedule=args.schedule,
        from_scratch=args.from_scratch, options=args.cfg_options, data=run.data,
        seed=run.cfg.get('randomness', {}).get('seed'), batch_size=batch, recipe_batch_size=recipe,
        train=dict(attempts[-1], seconds=round(sum(attempt['seconds'] for attempt in attempts), 1),
                   attempts=len(attempts)),
        test=dict(here, seconds=seconds, date=now()),
        measured=dict(read_log(log, table, row, setting, args.schedule),
                      **({'params_m': count_parameters(run.cfg)} if 'params_m' in table['metrics'] else {})),
        paper=row['paper'].get(setting, {}))


def read_log(path, table, row, setting, schedule):
    """What a test measured, in the paper's units; every number that is published for the row must be among it."""
    log = json.loads(path.read_text())
    measured = paper.measure(table['all_metrics'], log, setting)
    published = {name for source in ('paper', 'official') for numbers in row[source].values() for name in numbers}
    missing = [paper.log_key(table['metrics'][name], setting) for name in published - set(measured)
               if table['metrics'][name].get('log')]
    # After two iterations a detector may find nothing at all, and then mmdet reports nothing at all.
    if missing and (measured or schedule != 'smoke'):
        raise RowError(f'{path} has no {", ".join(sorted(missing))}; it has {", ".join(log)}')
    return measured


def count_parameters(cfg):
    """Parameters of a classifier in M, as the paper counts them for CIFAR: batch norms are left out."""
    from ..models.complexity import count
    try:
        params, _ = count(cfg.model.backbone, classes=cfg.model.head.num_classes, norms=False)
    except Exception as error:  # whatever the constructor of a model may raise
        raise RowError(f'the parameters of {cfg.model.backbone.type} cannot be counted: {error}') from error
    return round(params / 1e6, 3)


def run_config(run):
    """The file that is run: the config itself, or one in the run's folder that inherits it."""
    return run.folder / 'config.py' if run.changes else run.config


def tool(args, name, config, *arguments):
    """The command that runs one of our tools on so many GPUs."""
    script = tool_path(name).resolve()
    command = [sys.executable, script, config, *arguments]
    if args.gpus > 1:
        launcher = ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={args.gpus}']
        command = [sys.executable, *launcher, script, config, '--launcher', 'pytorch', *arguments]
    return [str(part) for part in command]


def show(command):
    print('    ' + ' '.join(map(shlex.quote, command)), flush=True)


def execute(command):
    show(command)
    return subprocess.call(command)


def full_name(row):
    return f'{row["table"]}/{row["name"]}'
