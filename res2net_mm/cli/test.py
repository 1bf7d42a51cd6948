"""``tools/test.py``: evaluate a checkpoint on the test set of any config of any toolbox, through mmengine's Runner."""
from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmengine.config import Config
from mmengine.registry import HOOKS

from ..datasets.checks import BuiltModel, BuiltSplit, check_data, check_splits
from ..utils.config_types import argument_names, config_class
from ..utils.errors import UserError
from ..utils.whole_file import NoSpaceError
from .arguments import accelerate_argument, common_arguments, read_config
from .command import run_command
from .device import choose_device
from .launch import is_first_of_machine
from .runner import build_runner, check_checkpoint, read_safely, require_parts

if TYPE_CHECKING:
    from mmengine.runner import Runner


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command.

    Args:
        argv (Sequence[str] | None): Its arguments. Defaults to None: those of the process.
    """
    parser = common_arguments('Evaluate a checkpoint on the test set of a config.')
    parser.add_argument('checkpoint', help="checkpoint of the whole model, or 'res2net_mm://NAME' for a public one")
    parser.add_argument('--setting', metavar='NAME', help='how to test, if the config has several test_settings')
    parser.add_argument('--out', metavar='FILE.pkl', help='also write the predictions to FILE.pkl')
    accelerate_argument(parser)
    parser.add_argument('--bad-images', choices=('stop', 'count-as-wrong'), default='stop',
                        help='images that cannot be used are named before the test, which stops there, or goes on and '
                             'counts each as wrongly predicted (%(default)s)')
    parser.add_argument('--show', action='store_true', help='show the predictions in a window')
    parser.add_argument('--show-dir', metavar='DIR', help='draw the predictions into DIR')
    parser.add_argument('--wait-time', type=float, default=2, metavar='SECONDS', help='how long --show shows one')
    run_command(test, parser.parse_args(argv))


def test(args: Namespace) -> None:
    """Evaluate as the arguments say.

    Raises:
        UserError: If an argument, the config, the data or the checkpoint cannot be used.
    """
    if args.out and not args.out.endswith(('.pkl', '.pickle')):
        raise UserError(f'--out {args.out}: must end with .pkl or .pickle')
    choose_device(args.device)
    read_safely(args)
    cfg = read_config(args, args.setting)

    table = paper_table(cfg)
    require_parts(cfg, args.config, 'model', 'test_dataloader', 'test_cfg', 'test_evaluator')
    if args.show or args.show_dir:
        draw_predictions(cfg, args)
    if is_first_of_machine(cfg.launcher):  # the others meet it later, and end with it
        check_data(cfg, ('test', ))
    check_checkpoint(args.checkpoint)
    cfg.load_from, cfg.resume = None, False  # the hook below loads
    if cfg.get('runner_type') == 'FlexibleRunner':
        cfg.pop('runner_type')  # how the model was trained; a whole checkpoint is tested without
    runner = build_runner(cfg)
    check_test_data(runner, stop=args.bad_images == 'stop')
    if args.out:
        from mmengine.evaluator import DumpResults
        runner.test_evaluator.metrics.append(DumpResults(out_file_path=args.out))
    from ..engine.hooks import AccelerateTesting, LoadWholeCheckpoint
    from ..engine.whole_files import whole_files
    runner.register_hook(LoadWholeCheckpoint(args.checkpoint, args.config))
    if args.accelerate:
        runner.register_hook(AccelerateTesting(args.accelerate))
    try:
        with whole_files():  # mmengine has every process write the metrics, all into one file
            metrics = runner.test()
    except NoSpaceError as error:
        raise UserError(str(error)) from error
    if table:
        print_beside_paper(table, metrics)


def check_test_data(runner: Runner, stop: bool) -> None:
    """Check the data to test on, and prepare for images that cannot be used.

    Args:
        runner (Runner): What tests; changed in place.
        stop (bool): Whether bad images end the test; otherwise each counts as wrong.

    Raises:
        BadDataError: If the data are bad, or do not fit the model.
    """
    from ..datasets.transforms import guard_evaluation
    from ..evaluation import CountBadImages
    split = BuiltSplit.from_loop('test', runner.test_loop, bad_images_are_fatal=stop)
    guard_evaluation(split)
    check_splits([split], BuiltModel.from_runner(runner))
    if not stop:
        runner.test_loop.evaluator = CountBadImages(runner.test_loop.evaluator)


def paper_table(cfg: Config) -> Any:
    """The table of the paper that a config names as its ``paper_table``, or None.

    Raises:
        UserError: If the paper has no such table.
    """
    name = cfg.get('paper_table')
    if not name:
        return None
    from ..reproduction.tables import read_tables
    tables = read_tables()
    if name not in tables:
        raise UserError(f'paper_table={name!r} must be one of {", ".join(tables)}')
    return tables[name]


def print_beside_paper(table: Any, metrics: Mapping[str, float]) -> None:
    """Print what was measured beside the numbers of a table; of several processes only the first prints."""
    from mmengine.dist import is_main_process

    from .reproduce import print_settings
    if is_main_process():
        print_settings(table, metrics)


def draw_predictions(cfg: Config, args: Namespace) -> None:
    """Turn on the toolbox's visualization hook, whose class says what its switches are called.

    Args:
        cfg (mmengine.Config): The config, changed in place.
        args (Namespace): With ``show``, ``show_dir``, ``wait_time`` and ``config``.

    Raises:
        UserError: If the config has no such hook, or one without a switch or a folder.
    """
    hook = (cfg.get('default_hooks') or {}).get('visualization')
    if not hook:
        raise UserError(f'--show and --show-dir: {args.config} has no default_hooks.visualization')
    kind = config_class(hook, HOOKS, cfg.get('default_scope'))
    names = argument_names(kind)
    switch = next((name for name in ('draw', 'enable') if name in names), None)
    out_dir = next((name for name in ('test_out_dir', 'out_dir') if name in names), None)
    if switch is None:
        raise UserError(f'--show and --show-dir: {kind.__name__}, the default_hooks.visualization of {args.config}, '
                        'cannot be turned on: it has neither draw nor enable')
    hook[switch] = True
    hook.show = args.show
    if args.show:
        hook.wait_time = args.wait_time
    if not args.show_dir:
        return
    show_dir = os.path.abspath(args.show_dir)  # mmdet would put a relative one inside the work directory
    if out_dir:
        hook[out_dir] = show_dir
    elif cfg.get('visualizer'):  # mmseg's draws into its own folder
        cfg.visualizer.save_dir = show_dir
    else:
        raise UserError(f'--show-dir: {args.config} has no visualizer')
