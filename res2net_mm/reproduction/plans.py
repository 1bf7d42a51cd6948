"""What a row of a table is run with: its config, where everything goes, and the commands."""
from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..utils.config import find_config, load_config, tool_path
from ..utils.config_edits import move_data_root
from ..utils.errors import UserError
from ..utils.whole_file import whole_file
from .identity import experiment_identity, identity_hash, run_identity, total_batch_size
from .results import TrainingAttempt, kind_of_run, parse_record
from .schedules import SCHEDULES, config_difference, random_weights
from .tables import Row


class RowError(UserError):
    """A row could not be reproduced."""


@dataclass(frozen=True)
class RunSettings:
    """How the rows of a table are run.

    Attributes:
        out (Path): Folder of the runs; made absolute, since mmengine writes the paths of checkpoints into files.
        results (Path | None): The results file. Defaults to None: ``results.jsonl`` in ``out``.
        schedule (str): 'full', 'short' or 'smoke'. Defaults to 'full'.
        from_scratch (bool): Whether to train from random weights. Defaults to False.
        device (str | None): cpu, cuda or cuda:INDEX. Defaults to None: a GPU if there is one.
        gpus (int): Processes of a training, a GPU for each. Defaults to 1.
        test_gpus (int | None): The same of a test. Defaults to None, as many as train.
        options (Mapping[str, Any]): Further changes of the configs by dotted key. Defaults to none.
        option_arguments (Sequence[str]): The same as tools/train.py takes them, KEY=VALUE. Defaults to none.
        dry_run (bool): Whether to log the commands only. Defaults to False.
        stop_on_error (bool): Whether the rows after one that failed are left out. Defaults to False.

    Raises:
        ValueError: If there is no such schedule, or ``gpus`` or ``test_gpus`` is less than 1.
    """
    out: Path
    results: Path | None = None
    schedule: str = 'full'
    from_scratch: bool = False
    device: str | None = None
    gpus: int = 1
    test_gpus: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    option_arguments: Sequence[str] = ()
    dry_run: bool = False
    stop_on_error: bool = False

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise ValueError(f'schedule={self.schedule!r} must be one of {", ".join(SCHEDULES)}')
        for name in ('gpus', 'test_gpus'):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise ValueError(f'{name}={number} must be at least 1')
        object.__setattr__(self, 'out', Path(self.out).resolve())

    @property
    def results_file(self) -> Path:
        """The results file."""
        return Path(self.results or self.out / 'results.jsonl')

    @property
    def kind(self) -> str:
        """The kind of the runs: 'full', 'short, from scratch', ..."""
        return kind_of_run(self.schedule, self.from_scratch)


@dataclass(frozen=True)
class Run:
    """One training of a row, and the tests of its model.

    Attributes:
        row (Row): The row.
        config (Path): The row's config.
        changes (Mapping[str, Any]): What row and schedule change in it, as a partial config.
        cfg (Config): The whole config as it is run.
        config_hash (str): Hash of what makes it this run (``run_identity``).
        experiment_hash (str): The same for all runs of the config, whatever their batch (``experiment_identity``).
        folder (Path): Where everything of the run goes; it is named by the hash.
        data (str | None): Folder of the data.
        arguments (Sequence[str]): What tools/train.py and tools/test.py are told alike.
        batch_size (int | None): Images per iteration over all devices; None if the config does not say.
        recipe_batch_size (int | None): The same in the recipe; None if the config does not say.
    """
    row: Row
    config: Path
    changes: Mapping[str, Any]
    cfg: Config
    config_hash: str
    experiment_hash: str
    folder: Path
    data: str | None
    arguments: Sequence[str]
    batch_size: int | None
    recipe_batch_size: int | None

    @property
    def config_file(self) -> Path:
        """The file that is run: the config itself, or one in the run's folder that inherits it."""
        return self.folder / 'config.py' if self.changes else self.config

    @property
    def attempts_file(self) -> Path:
        """The file that keeps every start of the training."""
        return self.folder / 'attempts.json'

    @property
    def pointer(self) -> Path:
        """The file in which mmengine keeps the path of the last checkpoint."""
        return self.folder / 'last_checkpoint'

    def read_attempts(self) -> list[TrainingAttempt]:
        """Every start of the training so far."""
        return read_attempts(self.attempts_file)

    def similar_folders(self) -> list[Path]:
        """Folders with a training of the same config and schedule that is another run."""
        folders = sorted(self.folder.parent.glob(f'{self.config.stem}-????????????'))
        return [folder for folder in folders if folder != self.folder
                and any((folder / file).is_file() for file in (self.attempts_file.name, self.pointer.name))]

    def write_attempts(self, attempts: Sequence[TrainingAttempt]) -> None:
        """Keep every start of the training; the file is never half written."""
        with whole_file(self.attempts_file) as file:
            file.write(json.dumps([asdict(attempt) for attempt in attempts], indent=1).encode())


def read_attempts(path: Path) -> list[TrainingAttempt]:
    """Every start of a training, as ``Run.write_attempts`` keeps them; none if there is no such file."""
    attempts = json.loads(path.read_text()) if path.is_file() else []
    return [parse_record(TrainingAttempt, attempt) for attempt in attempts]


def plan_run(row: Row, data: str | None, settings: RunSettings) -> Run:
    """Work out a row's run; nothing is written.

    Args:
        row (Row): A row that has a config.
        data (str | None): Folder of its data; None for the config's own.
        settings (RunSettings): How to run it.

    Returns:
        Run: The run.

    Raises:
        RowError: If the config cannot be read, or has no use for the changes or the data.
    """
    try:
        config = row_config(row)
        whole = load_config(config)
        cfg = whole.to_dict()
        for key in row.changes:
            if '.' in key and key.partition('.')[0] not in cfg:  # nobody would read it
                raise KeyError(key)
        whole.merge_from_dict(dict(row.changes))  # first, for they are the experiment, which the schedule cuts
        changed = SCHEDULES[settings.schedule](whole.to_dict())
        if settings.from_scratch:
            changed = random_weights(changed)
        whole = Config(changed)
        if data:
            move_data_root(whole, data)
        whole.merge_from_dict(dict(settings.options))
    except (OSError, ImportError, UserError) as error:
        raise RowError(error) from error
    except KeyError as error:
        raise RowError(f'{row.config} has no {error}') from error
    run_cfg = whole.to_dict()
    digest = identity_hash(run_identity(run_cfg, settings.gpus))
    arguments = ['--data-root', data] if data else []
    arguments += ['--device', settings.device] if settings.device else []
    arguments += ['--cfg-options', *settings.option_arguments] if settings.option_arguments else []
    return Run(row=row, config=config, changes=config_difference(cfg, changed), cfg=whole, config_hash=digest,
               experiment_hash=identity_hash(experiment_identity(run_cfg)),
               folder=settings.out / settings.schedule / f'{config.stem}-{digest}',
               data=data or whole.get('data_root'), arguments=arguments,
               batch_size=total_batch_size(run_cfg, settings.gpus),
               recipe_batch_size=whole.get('auto_scale_lr', {}).get('base_batch_size'))


def row_config(row: Row) -> Path:
    """The path of a row's config, which may also be an absolute one."""
    assert row.config is not None  # runs are planned of rows that have one
    return find_config(row.config).resolve()


def tool_command(gpus: int, name: str, config: Path, *arguments: str | Path) -> list[str]:
    """The command that runs one of our tools on so many GPUs."""
    script = tool_path(name).resolve()
    command = [sys.executable, script, config, *arguments]
    if gpus > 1:
        launcher = ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={gpus}']
        command = [sys.executable, *launcher, script, config, '--launcher', 'pytorch', *arguments]
    return [str(part) for part in command]
