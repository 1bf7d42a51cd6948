"""``tools/train.py``: train the model of any config of any toolbox, through mmengine's Runner."""
from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Sequence

from mmengine.config import Config
from mmengine.registry import MODELS, OPTIM_WRAPPERS

from ..datasets.checks import BuiltModel, BuiltSplit, check_data, check_splits, skip_bad_samples
from ..utils.config_types import ancestors, config_class
from ..utils.errors import UserError
from ..utils.whole_file import NO_SPACE
from .arguments import common_arguments, read_config
from .command import run_command
from .device import choose_device
from .launch import is_first_of_machine
from .resume import guard_run, resume
from .runner import add_hook, build_runner, check_checkpoint, read_safely, require_parts
from .trackers import add_trackers, tracker_argument

# Their heads are for float32: a detector's make coordinates, and those of mmpose give heatmaps to NumPy.
IN_FLOAT32 = {'mmdet.BaseDetector', 'mmdet.BaseMOTModel', 'mmpose.BasePoseEstimator'}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command.

    Args:
        argv (Sequence[str] | None): Its arguments. Defaults to None: those of the process.
    """
    parser = common_arguments('Train the model of a config.')
    parser.add_argument('--resume', nargs='?', const='auto', metavar='CHECKPOINT',
                        help='go on from CHECKPOINT, or from the last one in the work directory')
    parser.add_argument('--new-schedule', action='store_true',
                        help="with --resume: go on with the config's schedule and optimizer settings where the "
                             "checkpoint has others")
    parser.add_argument('--deterministic', action='store_true',
                        help='the same weights, bit for bit, from the same command on the same machine: a fixed seed '
                             'and deterministic operations')
    parser.add_argument('--amp', nargs='?', const='float16', choices=('float16', 'bfloat16'),
                        help='automatic mixed precision in float16 or the type that is given')
    parser.add_argument('--accelerate', action='store_true',
                        help='train the same model faster and in less memory: the same up to rounding')
    parser.add_argument('--auto-scale-lr', action='store_true',
                        help='scale the learning rate from auto_scale_lr.base_batch_size to the actual batch size')
    parser.add_argument('--strict-data', action='store_true',
                        help='stop at the first bad image or mask of the training data instead of skipping it')
    tracker_argument(parser)
    run_command(train, parser.parse_args(argv))


def train(args: Namespace) -> None:
    """Train as the arguments say.

    Raises:
        UserError: If an argument, the config, the data or a checkpoint cannot be used.
    """
    choose_device(args.device)
    read_safely(args)
    cfg = read_config(args)
    require_parts(cfg, args.config, 'model', 'train_dataloader', 'train_cfg', 'optim_wrapper')

    add_trackers(cfg, args.tracker)
    if args.amp:
        use_mixed_precision(cfg, args.amp)
    if args.accelerate:
        add_hook(cfg, 'res2net_mm.AccelerateTraining')
    if args.auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise UserError(f'--auto-scale-lr: {args.config} has no auto_scale_lr.base_batch_size')
        cfg.auto_scale_lr.enable = True
    warnings = resume(cfg, args.resume)
    warnings += guard_run(cfg, args.new_schedule)
    if args.deterministic:
        make_deterministic(cfg)

    if is_first_of_machine(cfg.launcher):  # the others meet it later, and end with it
        check_data(cfg, ('train', 'val'))
    if not cfg.get('resume'):  # or it was read to find out whether it can be resumed
        check_checkpoint(cfg.get('load_from'))
    skip_bad_samples(cfg, strict=args.strict_data)
    runner = build_runner(cfg)
    for warning in warnings:
        runner.logger.warning(warning)
    # Built in the order in which the Runner would.
    splits = [BuiltSplit.from_loop('train', runner.train_loop), BuiltSplit.from_loop('val', runner.val_loop)]
    from ..datasets.transforms import guard_evaluation
    guard_evaluation(splits[1])
    check_splits(splits, BuiltModel.from_runner(runner))
    try:
        runner.train()
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        raise UserError(f'{error}: make room, and go on with --resume') from error


def make_deterministic(cfg: Config) -> None:
    """Have two runs of a config be equal: one seed, and only operations that give the same result every time.

    Args:
        cfg (mmengine.Config): The config, changed in place.
    """
    os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')  # without it cuBLAS is not deterministic
    randomness = cfg.get('randomness') or {}
    seed = randomness.get('seed')
    cfg.randomness = dict(randomness, deterministic=True, seed=0 if seed is None else seed)


def use_mixed_precision(cfg: Config, dtype: str) -> None:
    """Autocast, with a dynamic loss scale for float16; in bfloat16 the heads of detectors and pose estimators stay in
    float32.

    Args:
        cfg (mmengine.Config): The config, changed in place.
        dtype (str): 'float16' or 'bfloat16'.

    Raises:
        UserError: If there is no GPU, unless it is one of these and ``dtype`` is 'bfloat16'; or if the config has
            several optimizers, or an ``optim_wrapper`` of a kind of its own.
    """
    scope = cfg.get('default_scope')
    if dtype == 'bfloat16' and IN_FLOAT32 & ancestors(config_class(cfg.model, MODELS, scope)).keys():
        add_hook(cfg, 'res2net_mm.BFloat16Features')
        return
    from mmengine.device import get_device
    if get_device() == 'cpu':
        raise UserError(f'--amp {dtype}: on the CPU only detectors and pose estimators have mixed precision, '
                        '--amp bfloat16')
    from mmengine.optim import AmpOptimWrapper, OptimWrapper
    wrapper = config_class({'type': 'OptimWrapper', **cfg.optim_wrapper}, OPTIM_WRAPPERS, scope)
    if 'optimizer' not in cfg.optim_wrapper or wrapper not in (OptimWrapper, AmpOptimWrapper):
        raise UserError(f'--amp {dtype}: is for one optimizer in an OptimWrapper; name yours in the config instead')
    cfg.optim_wrapper.update(type='AmpOptimWrapper', dtype=dtype)
    cfg.optim_wrapper.setdefault('loss_scale', 'dynamic' if dtype == 'float16' else 1.)
