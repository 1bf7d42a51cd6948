"""The command ``tools/misc/check_data.py``: all checks of a config's data without training, tables and a picture."""
from __future__ import annotations

import argparse
import contextlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterable, Iterator, Sequence

from mmengine.config import Config

from ..datasets.checks import BuiltSplit
from ..datasets.checks.configs import (
    check_annotations,
    dataset_configs,
    dataset_paths,
    dataset_settings,
    evaluators,
    find_missing,
    is_missing,
)
from ..datasets.checks.problems import Problem, list_defects
from ..datasets.checks.registry import DatasetSettings
from ..datasets.checks.run import SPLIT_CHECKS
from ..utils.errors import UserError
from ..utils.text import console
from .arguments import config_argument, debug_argument, read_config, settings_arguments
from .command import TOOL_ERRORS, run_command
from .dataset_tables import class_table, images_table, keypoint_table, problem_table
from .device import choose_device

if TYPE_CHECKING:
    from ..analysis.dataset_summary import DatasetSummary

SPLITS = ('train', 'val', 'test')


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command.

    Args:
        argv (Sequence[str] | None): Its arguments. Defaults to None: those of the process.
    """
    parser = argparse.ArgumentParser(
        description='Run all checks of the data of a config without training, print what is in them, and draw 16 '
        'images of each split with their annotations. Exit code 1 if something must be mended.')
    config_argument(parser)
    settings_arguments(parser)
    parser.add_argument('--splits', nargs='+', choices=SPLITS, metavar='SPLIT',
                        help='of train, val and test those to look at (all that the config has)')
    parser.add_argument('--out', type=Path, metavar='PICTURE.jpg',
                        help='the pictures; the name of the split is added (work_dirs/CONFIG/check_data.jpg)')
    debug_argument(parser)
    parser.set_defaults(work_dir=None, launcher='none', local_rank=0)
    run_command(check_config, parser.parse_args(argv), errors=TOOL_ERRORS)


def check_config(args: argparse.Namespace) -> None:
    """Check the data as the arguments say, and print what was found.

    Raises:
        UserError: If the config cannot be used, or something must be mended before training.
    """
    choose_device('cpu')
    cfg = read_config(args)
    splits = distinct_splits(cfg, args)
    from mmengine.registry import init_default_scope
    init_default_scope(cfg.get('default_scope') or 'mmengine')

    problems = Problems()
    problems.collect(find_missing, cfg, list(splits))
    contents = [content for split, title in splits.items() for content in check_split(cfg, split, title, problems)]
    screen = console()
    if contents:
        screen.print(images_table(contents))
    for title, summary, _ in contents:
        if summary.classes:
            screen.print(class_table(title, summary, screen.width))
        if summary.keypoints:
            screen.print(keypoint_table(title, summary, screen.width))
    for title in dict.fromkeys(title for title, _, _ in contents):
        samples = [sample for name, summary, _ in contents if name == title for sample in summary.images]
        draw_split(args.out or Path(cfg.work_dir) / 'check_data.jpg', title, samples, problems)
    if problems.found:
        screen.print(problem_table(problems.found))
    errors = sum(problem.fatal for problem in problems.found)
    print(f'{errors} errors, {len(problems.found) - errors} warnings')
    if errors:
        raise UserError(f'{args.config}: {errors} errors in the data must be mended')


class Problems:
    """What is wrong, each thing once, in the order in which it was found."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def add(self, problems: Iterable[Problem]) -> None:
        """Add what is not known yet."""
        for problem in problems:
            if problem not in self.found:
                self.found.append(problem)

    def collect(self, check: Callable[..., Iterable[Problem]], *arguments: Any) -> bool:
        """Add what a check finds, and its own end if it ends in an error; return whether something is fatal."""
        found = []
        try:
            found += check(*arguments)
        except UserError as error:
            found.append(Problem(str(error)))
        except Exception as error:  # data of any kind, read by any library: the other checks go on
            found.append(Problem(f'{check.__name__} ended in {type(error).__name__}: {error}'))
        self.add(found)
        return any(problem.fatal for problem in found)


def distinct_splits(cfg: Config, args: argparse.Namespace) -> dict[str, str]:
    """The splits to check, and their titles: 'val and test' if the two have the same data and metrics.

    Raises:
        UserError: If the config has none of them, or not one that was asked for.
    """
    known = [split for split in SPLITS if dataset_configs(cfg, split)]
    missing = [split for split in args.splits or () if split not in known]
    if missing or not known:
        names = ', '.join(f'{split}_dataloader' for split in missing or SPLITS)
        raise UserError(f'{args.config} has no {names} with a dataset')
    groups: dict[str, list[str]] = {}
    for split in args.splits or known:
        same = (other for other in groups if (dataset_configs(cfg, other), evaluators(cfg, other)) == (
            dataset_configs(cfg, split), evaluators(cfg, split)))
        groups.setdefault(next(same, split), []).append(split)
    return {split: ' and '.join(names) for split, names in groups.items()}


def check_split(cfg: Config, split: str, title: str, problems: Problems
                ) -> Iterator[tuple[str, DatasetSummary, int | None]]:
    """Check a split and build its datasets, each on its own, so that a bad one does not hide the others.

    Args:
        cfg (mmengine.Config): The config.
        split (str): 'train', 'val' or 'test'.
        title (str): What to call it.
        problems (Problems): Where to add what is wrong.

    Yields:
        tuple: For each dataset the title, what is in it, and how many entries its filters have dropped or None.
    """
    from ..analysis.dataset_summary import summarise_dataset
    datasets: list[Any] = []
    for settings in dataset_settings(cfg, split):
        is_bad = problems.collect(check_annotations, settings)
        if any(map(is_missing, dataset_paths(settings.config))):
            continue  # a toolbox might download it
        dataset, dropped = build_quietly(settings, Problems() if is_bad else problems)  # it would say the same again
        if dataset is None:
            continue
        datasets.append(dataset)
        try:
            summary = summarise_dataset(dataset)
        except Exception as error:  # a dataset of one's own may hold anything
            problems.add([Problem(f'{split}_dataloader: what {settings.kind.__name__} holds cannot be counted: '
                                  f'{type(error).__name__}: {error}', fatal=False)])
            continue
        problems.add(list_defects(f'{title}: {len(summary.unreadable)} masks cannot be decoded:', summary.unreadable,
                                  fatal=False))
        yield title, summary, dropped
    built = BuiltSplit(split, datasets, list(build_metrics(cfg, split, problems)))
    for check in SPLIT_CHECKS:
        problems.collect(check, built)


def build_quietly(settings: DatasetSettings, problems: Problems) -> tuple[Any, int | None]:
    """Build a dataset, or say why that is not possible.

    Returns:
        tuple: The dataset, or None, and how many entries its filters have dropped or None.
    """
    from mmengine.dataset import BaseDataset

    from ..analysis.dataset_samples import build_dataset
    name = settings.config.get('type')
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
            dataset, dropped = build_dataset(settings.config)
    except Exception as error:  # of a toolbox
        problems.add([Problem(f'{settings.split}_dataloader: {name} cannot be built: {type(error).__name__}: {error}')])
        return None, None
    if not isinstance(dataset, BaseDataset):
        problems.add([Problem(f'{settings.split}_dataloader: {name} is no dataset of mmengine\'s kind; what is in it '
                              'is not checked', fatal=False)])
        return None, None
    return dataset, dropped


def build_metrics(cfg: Config, split: str, problems: Problems) -> Iterator[Any]:
    """Build the metrics of a split, of which some checks ask what they need."""
    from mmengine.registry import METRICS
    for evaluator in evaluators(cfg, split):
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                yield METRICS.build(evaluator)
        except Exception as error:  # of a toolbox
            if not any(problem.fatal for problem in problems.found):  # its file may be one that is bad
                problems.add([Problem(f'{split}_evaluator: {evaluator.get("type")} cannot be built: '
                                      f'{type(error).__name__}: {error}')])


def draw_split(out: Path, title: str, samples: Sequence[Any], problems: Problems) -> None:
    """Draw 16 images of a split.

    Args:
        out (Path): The picture; the name of the split is added to its stem.
        title (str): The split.
        samples (Sequence[ImageSample]): Its images.
        problems (Problems): Where to add images that cannot be loaded.
    """
    from ..analysis.dataset_samples import choose_samples
    from ..analysis.dataset_sheet import draw_dataset_sheet
    if not samples:
        return
    path = out.with_name(f'{out.stem}_{title.replace(" ", "_")}{out.suffix or ".jpg"}')
    path.parent.mkdir(parents=True, exist_ok=True)
    failed = draw_dataset_sheet(choose_samples(samples), path)
    problems.add(list_defects(f'{title}: images on the sheet that cannot be loaded:', failed, fatal=False))
    print(f'Wrote {path}')
