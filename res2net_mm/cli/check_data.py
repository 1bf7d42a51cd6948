"""The command ``tools/misc/check_data.py``: all checks of a config's data without training, tables and a picture."""
from __future__ import annotations

import argparse
import contextlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterable, Iterator, Sequence

from mmengine.config import Config

from ..datasets.checks import BuiltModel, BuiltSplit
from ..datasets.checks.configs import (
    check_annotations,
    dataset_configs,
    dataset_paths,
    dataset_settings,
    evaluators,
    find_missing,
    is_missing,
)
from ..datasets.checks.images import find_bad_training_images
from ..datasets.checks.lists import reading_once
from ..datasets.checks.overlap import check_overlap
from ..datasets.checks.problems import TOLERATED, Problem, list_defects
from ..datasets.checks.registry import DatasetSettings
from ..datasets.checks.run import MODEL_CHECKS, SPLIT_CHECKS
from ..utils.errors import UserError
from ..utils.text import console
from .arguments import config_argument, debug_argument, read_config, settings_arguments
from .command import TOOL_ERRORS, run_command
from .dataset_tables import class_table, images_table, keypoint_table, problem_table
from .device import choose_device

if TYPE_CHECKING:
    from rich.console import Console

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
    with reading_once():
        contents = [read_split(cfg, split, title, problems) for split, title in splits.items()]
    for content in contents:
        for check in SPLIT_CHECKS:
            problems.collect(check, content.built)
        problems.collect(check_training_images, content)
    problems.collect(check_overlap, [content.built for content in contents])
    check_model(cfg, [content.built for content in contents], problems)
    screen = console()
    print_contents(contents, screen)
    out = args.out or Path(cfg.work_dir) / 'check_data.jpg'
    for content in contents:
        draw_split(out, content, problems)
    if problems.found:
        screen.print(problem_table(problems.found))
    errors = sum(problem.fatal for problem in problems.found)
    print(f'Errors: {errors}, warnings: {len(problems.found) - errors}', flush=True)  # before the message on stderr
    if errors:
        raise UserError(f'{args.config}: the data must be mended')


@dataclass
class SplitContent:
    """One split of the config: what is built of it, and what is in it.

    Attributes:
        title (str): What to call it: 'val and test' if the two are the same.
        built (BuiltSplit): Its datasets, metrics and loader, as far as they can be built.
        summaries (list): What is in each dataset, and how many entries its filters have dropped or None.
        bad_images (set[str]): Of a set to train on, the images that are missing or cut off.
    """

    title: str
    built: BuiltSplit
    summaries: list[tuple[DatasetSummary, int | None]] = field(default_factory=list)
    bad_images: set[str] = field(default_factory=set)


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
        found: list[Problem] = []
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


def read_split(cfg: Config, split: str, title: str, problems: Problems) -> SplitContent:
    """Check the annotations of a split, build its datasets, and count what is in them.

    Every dataset is built on its own, so that a bad one does not hide what is in the others.

    Args:
        cfg (mmengine.Config): The config.
        split (str): 'train', 'val' or 'test'.
        title (str): What to call it.
        problems (Problems): Where to add what is wrong.
    """
    from ..analysis.dataset_samples import build_loader
    from ..analysis.dataset_summary import summarise_dataset
    built: list[tuple[Any, int | None]] = []
    for settings in dataset_settings(cfg, split):
        is_bad = problems.collect(check_annotations, settings)
        if not any(map(is_missing, dataset_paths(settings.config))):  # a toolbox might download it
            # A toolbox would say the same of bad annotations again.
            built.append(build_quietly(settings, Problems() if is_bad else problems))
    datasets = [dataset for dataset, _ in built if dataset is not None]
    loader = None
    if len(datasets) == len(dataset_configs(cfg, split)):
        try:
            loader = build_loader(cfg[f'{split}_dataloader'], datasets)
        except Exception as error:  # of a toolbox
            problems.add([Problem(f'{split}_dataloader cannot be built: {type(error).__name__}: {error}')])
    content = SplitContent(title, BuiltSplit(split, datasets, list(build_metrics(cfg, split, problems)), loader))
    for dataset, dropped in built:
        if dataset is None:
            continue
        try:
            summary = summarise_dataset(dataset, getattr(loader, 'dataset', None))
        except Exception as error:  # a dataset of one's own may hold anything
            problems.add([Problem(f'{split}_dataloader: what {type(dataset).__name__} holds cannot be counted: '
                                  f'{type(error).__name__}: {error}', fatal=False)])
            continue
        content.summaries.append((summary, dropped))
        problems.add(list_defects(f'{title}: {len(summary.unreadable)} masks cannot be decoded:', summary.unreadable,
                                  fatal=False))
    return content


def check_model(cfg: Config, splits: Sequence[BuiltSplit], problems: Problems) -> None:
    """Check whether the data fit the model, which is built with random weights.

    Args:
        cfg (mmengine.Config): The config; one without a model is one of data alone.
        splits (Sequence[BuiltSplit]): The data.
        problems (Problems): Where to add what is wrong.
    """
    if not cfg.get('model'):
        return
    from mmengine.registry import MODELS
    try:
        model = BuiltModel(MODELS.build(cfg.model), cfg)
    except Exception as error:  # of a toolbox
        problems.add([Problem(f'the model cannot be built: {type(error).__name__}: {error}')])
        return
    for check in MODEL_CHECKS:
        problems.collect(check, model, splits)


def check_training_images(content: SplitContent) -> Iterator[Problem]:
    """Look for images to train on that are bad: training would skip them, and end if they are many."""
    if content.built.name != 'train':
        return
    defects = find_bad_training_images(content.built)
    content.bad_images.update(defects)
    images = {sample.name for summary, _ in content.summaries for sample in summary.images}
    too_many = len(defects) > TOLERATED * len(images)
    yield from list_defects(f'{len(defects)} of {len(images)} images to train on are bad; training '
                            + ('would end' if too_many else 'skips them') + ':',
                            [f'{path} {defect}' for path, defect in defects.items()], fatal=too_many)


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


def print_contents(contents: Sequence[SplitContent], screen: Console) -> None:
    """Print the tables of all splits."""
    summaries = [(content.title, *entry) for content in contents for entry in content.summaries]
    if summaries:
        screen.print(images_table(summaries))
    for title, summary, _ in summaries:
        if summary.classes:
            screen.print(class_table(title, summary, screen.width))
        if summary.keypoints:
            screen.print(keypoint_table(title, summary, screen.width))
    for content in contents:
        if not content.summaries:
            print(f'{content.title}: nothing that can be read\n')


def draw_split(out: Path, content: SplitContent, problems: Problems) -> None:
    """Draw 16 images of a split.

    Args:
        out (Path): The picture; the name of the split is added to its stem.
        content (SplitContent): The split.
        problems (Problems): Where to add images that cannot be loaded.
    """
    from ..analysis.dataset_samples import choose_samples
    from ..analysis.dataset_sheet import draw_dataset_sheet
    samples = [sample for summary, _ in content.summaries for sample in summary.images]
    if not samples:
        return
    path = out.with_name(f'{out.stem}_{content.title.replace(" ", "_")}{out.suffix or ".jpg"}')
    path.parent.mkdir(parents=True, exist_ok=True)
    failed = [f'{name} {reason}' for name, reason in draw_dataset_sheet(choose_samples(samples), path).items()
              if name not in content.bad_images]
    problems.add(list_defects(f'{content.title}: images on the sheet that cannot be loaded:', failed, fatal=False))
    print(f'Wrote {path}')
