"""Arguments that several commands share, and the config that they describe."""
from __future__ import annotations

import os
from argparse import SUPPRESS, ArgumentParser, Namespace
from pathlib import Path

from mmengine.config import Config, DictAction

from ..utils.config import config_name, load_config
from ..utils.config_edits import apply_setting, move_data_root
from ..utils.errors import UserError


def common_arguments(description: str) -> ArgumentParser:
    """A parser of what ``tools/train.py`` and ``tools/test.py`` are both told; ``read_config`` reads the result."""
    parser = ArgumentParser(description=description)
    config_argument(parser)
    parser.add_argument('--work-dir', metavar='DIR', help='where logs and checkpoints go (work_dirs/CONFIG)')
    settings_arguments(parser)
    device_argument(parser)
    trust_argument(parser)
    debug_argument(parser)
    parser.add_argument('--launcher', choices=('none', 'pytorch', 'slurm', 'mpi'), default='none',
                        help='what started the processes of a distributed run (tools/dist_train.sh: pytorch)')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=SUPPRESS)
    return parser


def config_argument(parser: ArgumentParser) -> None:
    """Add CONFIG."""
    parser.add_argument('config', help="config file, or one that a package ships: 'res2net_mm::NAME.py'; it is a "
                                       'program, and is run')


def settings_arguments(parser: ArgumentParser) -> None:
    """Add ``--data-root`` and ``--cfg-options``, which change the config."""
    parser.add_argument('--data-root', metavar='DIR', help="take the data from DIR instead of the config's data_root")
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='override settings of the config: model.backbone.depth=101 test_dataloader.batch_size=4')


def trust_argument(parser: ArgumentParser) -> None:
    """Add ``--trust-checkpoint``."""
    parser.add_argument('--trust-checkpoint', action='store_true',
                        help='let a checkpoint run the code that is in it, as pickles of whole models need it; only '
                             'for files of people whom you would let run commands on this machine')


def debug_argument(parser: ArgumentParser) -> None:
    """Add ``--debug``."""
    parser.add_argument('--debug', action='store_true', help='show where an error comes from, before its message')


def device_argument(parser: ArgumentParser) -> None:
    """Add ``--device``."""
    parser.add_argument('--device', metavar='NAME', help='cpu, cuda or cuda:INDEX; by default a GPU if there is one')


def accelerate_argument(parser: ArgumentParser) -> None:
    """Add ``--accelerate``, for a command that runs a trained model."""
    parser.add_argument('--accelerate', nargs='?', const='auto', choices=(
        'auto', 'pytorch', 'native', 'native-direct', 'onnxruntime', 'openvino', 'triton'),
                        help='run a faster copy of the model, by what is given or is fastest: the same up to rounding')


def models_arguments(parser: ArgumentParser, checkpoint: str) -> None:
    """Add CONFIG and CHECKPOINT of a model, and ``--compare`` for models to put beside it.

    Args:
        parser (ArgumentParser): The parser.
        checkpoint (str): The help text of CHECKPOINT.
    """
    config_argument(parser)
    parser.add_argument('checkpoint', help=checkpoint)
    trust_argument(parser)
    debug_argument(parser)
    parser.add_argument('--compare', nargs=2, action='append', default=[], metavar=('CONFIG', 'CHECKPOINT'),
                        help='another model to draw beside the first; may be repeated')


def read_config(args: Namespace, setting: str | None = None) -> Config:
    """The config of a command, changed as the command's arguments say.

    Args:
        args (Namespace): What a parser of ``common_arguments`` returns.
        setting (str | None): One of the config's ``test_settings`` to merge. Defaults to None.

    Raises:
        UserError: If there is no such config, no such setting, or no ``data_root`` to move.
    """
    try:
        cfg = load_config(args.config)
    except (FileNotFoundError, ModuleNotFoundError) as error:
        raise UserError(str(error)) from error
    if setting:
        apply_setting(cfg, setting, args.config)
    if args.data_root:
        move_data_root(cfg, args.data_root)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    cfg.launcher = args.launcher
    if args.work_dir or not cfg.get('work_dir'):
        cfg.work_dir = args.work_dir or str(Path('work_dirs') / config_name(args.config))
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return cfg
