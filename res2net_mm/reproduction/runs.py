"""Training and testing the rows of a table, through ``tools/train.py`` and ``tools/test.py``."""
from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.config import Config

from ..utils.errors import UserError
from ..utils.provenance import now, provenance
from .figure import draw_series_figure
from .plans import RowError, Run, RunSettings, plan_run, read_attempts, tool_command
from .report import compare, comparison_table, format_changes
from .results import (
    Result,
    RunRecord,
    TrainingAttempt,
    TrainingRecord,
    append_result,
    measured_numbers,
    read_results,
)
from .schedules import derived_config_text
from .tables import Row, Table

if TYPE_CHECKING:
    from rich.console import RenderableType


class ReproductionError(UserError):
    """Rows of a table could not be reproduced; the message names all of them, with the reason."""


@dataclass(frozen=True)
class Output:
    """Where progress is told.

    Attributes:
        log (Callable[[str], None]): Takes lines on what is done.
        warn (Callable[[str], None]): Takes lines on what fails.
        show (Callable[[RenderableType], None]): Takes tables of rich.
    """
    log: Callable[[str], None]
    warn: Callable[[str], None]
    show: Callable[[RenderableType], None]


def reproduce_table(table: Table, rows: Sequence[Row], data: Mapping[str | None, str], settings: RunSettings,
                    output: Output) -> list[Result]:
    """Train and test rows of a table one after the other, and show the numbers beside the paper's.

    What is finished is not run again, and an interrupted training goes on from its last checkpoint. A row that fails
    does not take the others with it.

    Args:
        table (Table): The table.
        rows (Sequence[Row]): Rows of it that have a config, such as ``table.runnable_rows``.
        data (Mapping[str | None, str]): Folders by name of the dataset, absolute; the config's own where there is none.
        settings (RunSettings): How to run them.
        output (Output): Where progress is told.

    Returns:
        list[Result]: All results of the results file, those of earlier runs and of other tables among them.

    Raises:
        ReproductionError: If a row failed, after the others have run and all results are shown.
    """
    results, failures = read_results(settings.results_file, output.warn), []
    for row in rows:
        try:
            reproduce_row(table, row, data.get(row.data), results, settings, output)
        except RowError as error:
            failures.append(f'{row.full_name}: {error}')
            output.warn(f'FAILED {failures[-1]}')
            if settings.stop_on_error:
                break
    if not settings.dry_run:
        show_comparison(table, results, settings, output)
    if failures:
        raise ReproductionError(f'{len(failures)} of {len(rows)} rows failed:\n  ' + '\n  '.join(failures))
    return results


def show_comparison(table: Table, results: Sequence[Result], settings: RunSettings, output: Output) -> None:
    """Show the results of this kind of run beside the paper's, and draw the table's figure.

    The figure lies beside the results file.
    """
    of_kind = [result for result in results if result.kind == settings.kind]
    if not compare(table, of_kind):
        return
    output.show(comparison_table(table, of_kind, settings.kind))
    output.log(f'All results: {settings.results_file}')
    figure = draw_series_figure(table, results, settings.kind, settings.results_file.parent)
    if figure:
        output.log(f'Figure: {figure}')


def reproduce_row(table: Table, row: Row, data: str | None, results: list[Result], settings: RunSettings,
                  output: Output) -> None:
    """Train a row, unless that is finished, and test what has no result yet.

    Args:
        table (Table): The row's table.
        row (Row): A row that has a config.
        data (str | None): Folder of its data; None for the config's own.
        results (list[Result]): What was measured before; every new result is added at once, to the results file too.
        settings (RunSettings): How to run it.
        output (Output): Where progress is told.

    Raises:
        RowError: If the row's config cannot be used, or its training or a test failed.
    """
    run = plan_run(row, data, settings)
    what = ' '.join(filter(None, (row.config, format_changes(row.changes))))
    output.log(f'\n{row.full_name}: {what}, schedule {settings.schedule}, in {run.folder}')
    log_batch_size(run, settings, output.log)
    train_row(run, settings, output.log)
    for setting, needed in table.settings.items():
        test_name = f'{row.full_name}{f", {setting}" if setting else ""}'
        earlier = [result for result in results if result.belongs_to(row)
                   and (result.config_hash, result.setting) == (run.config_hash, setting)]
        if earlier:
            output.log(f'{test_name}: tested already, {earlier[-1].test.date}')
        elif needed and not (Path(run.data or '') / needed).is_file():
            output.log(f'{test_name}: left out, it needs {Path(run.data or "") / needed}, which does not exist')
        else:
            result = test_row(table, run, setting, settings, output.log)
            if result:
                append_result(settings.results_file, result)
                results.append(result)


def log_batch_size(run: Run, settings: RunSettings, log: Callable[[str], None]) -> None:
    """Say so where the batch is not the recipe's."""
    batch, recipe = run.batch_size, run.recipe_batch_size
    if batch and recipe and batch != recipe and settings.schedule != 'smoke':
        iters = run.cfg.train_cfg.get('max_iters')
        images = f', but {iters} iterations see {"fewer" if batch < recipe else "more"} images' if iters else ''
        log(f"    batch {batch} instead of the recipe's {recipe}: the learning rate is scaled{images}; for the "
            f"recipe's: --cfg-options train_dataloader.batch_size={max(1, recipe // settings.gpus)}")


def train_row(run: Run, settings: RunSettings, log: Callable[[str], None]) -> None:
    """Run tools/train.py, unless it ended well before.

    Args:
        run (Run): The run.
        settings (RunSettings): How to run it.
        log (Callable[[str], None]): Takes lines on what is done.

    Raises:
        RowError: If the training failed, or cannot go on with these settings.
    """
    attempts = run.read_attempts()
    if attempts and attempts[-1].finished:
        log(f'{run.row.full_name}: trained already, {attempts[-1].date}, {training_setup(attempts[-1], run)}')
        return
    check_continuation(run, attempts, settings)
    if not attempts:
        log_similar_trainings(run, log)
    scale = ['--auto-scale-lr'] if run.recipe_batch_size else []
    command = tool_command(settings.gpus, 'train.py', run.config_file, '--resume', *scale, '--work-dir', run.folder,
                           *run.arguments)
    log_command(command, log)
    if settings.dry_run:
        return
    run.folder.mkdir(parents=True, exist_ok=True)
    if run.changes:
        title = f'{run.config.name}, schedule {settings.schedule}: written by tools/reproduce.py.'
        run.config_file.write_text(derived_config_text(run.config, run.changes, title))
    attempt = TrainingAttempt(**provenance(settings.device), devices=settings.gpus, finished=False,
                              batch_size=run.batch_size, data=run.data, experiment_hash=run.experiment_hash)
    run.write_attempts([*attempts, attempt])  # before it starts: whatever ends it, what it began with is known
    started = time.monotonic()
    try:
        code = subprocess.call(command)
        attempt = replace(attempt, finished=code == 0)
    finally:
        attempt = replace(attempt, seconds=round(time.monotonic() - started, 1))
        run.write_attempts([*attempts, attempt])
    if code:
        raise RowError(f'tools/train.py ended with exit code {code}; it said why above')


def check_continuation(run: Run, attempts: Sequence[TrainingAttempt], settings: RunSettings) -> None:
    """Refuse to go on from a checkpoint on other devices than it was trained on, or on nobody knows which.

    Raises:
        RowError: The message says how to go on.
    """
    if not run.pointer.is_file():
        return
    if not attempts:
        raise RowError(f'{run.folder} has a checkpoint and no {run.attempts_file.name}, so nobody knows what it was '
                       'trained with; remove the folder to start anew')
    if attempts[-1].devices != settings.gpus:
        raise RowError(f'the training in {run.folder} was begun {training_setup(attempts[-1], run)}, and cannot go on '
                       f'on {settings.gpus}: give --gpus {attempts[-1].devices} and the same batch of a device, or '
                       'remove the folder to start anew')


def training_setup(attempt: TrainingAttempt, run: Run) -> str:
    """On how many devices, with which batch, and on what data if that is elsewhere now, a training was begun."""
    elsewhere = f', and the data in {attempt.data}, taken for that in {run.data}' if attempt.data != run.data else ''
    return f'on {attempt.devices} device{"s" * (attempt.devices > 1)} with batch {attempt.batch_size}{elsewhere}'


def log_similar_trainings(run: Run, log: Callable[[str], None]) -> None:
    """Say where there is a training of the same config that this run does not go on with, and why."""
    for folder in run.similar_folders():
        attempts = read_attempts(folder / run.attempts_file.name)
        if not attempts or not attempts[-1].experiment_hash:
            log(f'    {folder} is of an older version, which did not write down what it was trained with: it is left '
                'alone, and this run starts anew')
        elif attempts[-1].experiment_hash == run.experiment_hash:
            last = attempts[-1]
            log(f'    {folder} was {"trained" if last.finished else "begun"} {training_setup(last, run)}: this run, '
                f'with batch {run.batch_size}, is another one and starts anew. To go on with that one give '
                f'--gpus {last.devices}' + (', with --test-gpus for its test' if last.finished else ''))


def test_row(table: Table, run: Run, setting: str | None, settings: RunSettings,
             log: Callable[[str], None]) -> Result | None:
    """Run tools/test.py on the last checkpoint of a run.

    Args:
        table (Table): The row's table.
        run (Run): The run.
        setting (str | None): How to test; None for the config's only test.
        settings (RunSettings): How to run it.
        log (Callable[[str], None]): Takes lines on what is done.

    Returns:
        Result | None: What was measured; None in a dry run.

    Raises:
        RowError: If the training left no checkpoint, the test failed, or a published number was not measured.
    """
    work_dir = run.folder / ('test' if setting is None else f'test_{setting}')
    pointer = run.pointer
    # The file of that name in this folder, which may have been moved.
    named = pointer.read_text().strip() if pointer.is_file() else 'THE_LAST_CHECKPOINT.pth'
    checkpoint = run.folder / Path(named).name
    devices = settings.test_gpus or settings.gpus
    command = tool_command(devices, 'test.py', run.config_file, checkpoint,
                           *(['--setting', setting] if setting else []), '--work-dir', work_dir, *run.arguments)
    if settings.dry_run:
        log_command(command, log)
        return None
    if not pointer.is_file():
        raise RowError(f'the training left no {pointer}')
    log_command(command, log)
    record, started = RunRecord(**provenance(settings.device), devices=devices), time.monotonic()
    code = subprocess.call(command)
    if code:
        raise RowError(f'tools/test.py ended with exit code {code}; it said why above')
    record = replace(record, seconds=round(time.monotonic() - started, 1), date=now())
    test_log = max(work_dir.glob('*/*.json'), default=None)  # named by date
    if test_log is None:
        raise RowError(f'the test left no log in {work_dir}')
    measured = read_test_log(test_log, table, run.row, setting, settings.schedule)
    if 'params_m' in table.metrics:
        measured['params_m'] = count_parameters(run.cfg)
    return make_result(run, setting, settings, record, measured)


def make_result(run: Run, setting: str | None, settings: RunSettings, test: RunRecord,
                measured: Mapping[str, float | None]) -> Result:
    """Put together the line of the results file for a finished test of a run."""
    row, attempts = run.row, run.read_attempts()
    training = TrainingRecord(**dict(asdict(attempts[-1]), attempts=len(attempts),
                                     seconds=round(sum(attempt.seconds for attempt in attempts), 1)))
    return Result(
        table=row.table, row=row.name, model=row.model, split=row.split, setting=setting, config=run.config.name,
        changes=row.changes, config_hash=run.config_hash, schedule=settings.schedule,
        from_scratch=settings.from_scratch, options=list(settings.option_arguments), data=run.data,
        seed=run.cfg.get('randomness', {}).get('seed'), batch_size=training.batch_size,
        recipe_batch_size=run.recipe_batch_size, train=training, test=test, measured=measured,
        paper=row.paper.get(setting, {}))


def read_test_log(path: Path, table: Table, row: Row, setting: str | None, schedule: str) -> dict[str, float | None]:
    """Read the numbers that a test measured, in the paper's units.

    Every number that is published for the row must be among them.
    """
    log = json.loads(path.read_text())
    measured = measured_numbers(table.all_metrics, log, setting)
    missing = [table.metrics[name].log_key(setting) for name in row.published_metrics - set(measured)
               if table.metrics[name].log]
    # After two iterations a detector may find nothing at all, and then mmdet reports nothing at all.
    if missing and (measured or schedule != 'smoke'):
        raise RowError(f'{path} has no {", ".join(sorted(missing))}; it has {", ".join(log)}')
    return measured


def count_parameters(cfg: Config) -> float:
    """Parameters of a classifier in M, as the paper counts them for CIFAR: batch norms are left out."""
    from ..models.complexity import count
    try:
        params, _ = count(cfg.model.backbone, classes=cfg.model.head.num_classes, norms=False)
    except Exception as error:  # whatever the constructor of a model may raise
        raise RowError(f'the parameters of {cfg.model.backbone.type} cannot be counted: {error}') from error
    return round(params / 1e6, 3)


def log_command(command: Sequence[str], log: Callable[[str], None]) -> None:
    """Log a command as one types it."""
    log('    ' + ' '.join(map(shlex.quote, command)))
