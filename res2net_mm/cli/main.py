"""The command ``res2net-mm``: all of ``tools/`` that a user needs, for those who have no checkout."""
from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from ..utils.text import did_you_mean
from ..version import __version__
from .command import fail

COMMANDS = {  # by name: the module of cli with its main, and what it does
    'train': ('train', 'train a model of any config'),
    'test': ('test', 'test a checkpoint'),
    'predict': ('predict', 'find objects, masks, segments, keypoints or a class in images and videos'),
    'app': ('app', 'try models on a page in the browser'),
    'export': ('export', 'write a model as ONNX, OpenVINO, TorchScript or pt2'),
    'weights': ('weights', 'list, download and verify public weights'),
    'doctor': ('doctor', 'say what is installed, what is wrong, and what mends it'),
    'check-data': ('check_data', 'check the images and annotations of a config'),
    'prepare-data': ('prepare_data', 'lay out a public dataset as our configs read it'),
    'reproduce': ('reproduce', 'train and test the rows of a table of the paper'),
    'convert': ('convert_checkpoint', 'convert a checkpoint to another layout, or say what it is'),
    'publish': ('publish', 'write a training result as safetensors with a model card'),
    'cam': ('cam', 'draw where a model looks'),
    'benchmark': ('benchmark', 'time backbones beside those of other libraries'),
}
EXAMPLES = """
examples:
  res2net-mm predict demo photo.jpg
  res2net-mm train faster_rcnn_r2n50_coco.py --data-root /data/coco
  res2net-mm COMMAND --help
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the first argument names, with the others.

    Args:
        argv (Sequence[str] | None): The arguments. Defaults to None: those of the process.

    Returns:
        int: The exit code.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ('-h', '--help'):
        print(usage())
        return 0
    if argv[0] == '--version':
        print(f'res2net_mm {__version__}')
        return 0
    if argv[0] not in COMMANDS:
        fail(f"no command '{argv[0]}'; {did_you_mean(argv[0], COMMANDS, form='{} ')}there are {', '.join(COMMANDS)}")
    module, _ = COMMANDS[argv[0]]
    sys.argv[:] = [f'res2net-mm {argv[0]}', *argv[1:]]  # whence messages and help have their name
    return import_module(f'{__package__}.{module}').main() or 0


def usage() -> str:
    """The help text."""
    lines = [f'  {name:14}{description}' for name, (_, description) in COMMANDS.items()]
    return '\n'.join(['usage: res2net-mm COMMAND [ARGUMENT ...]', '', 'commands:', *lines, EXAMPLES.rstrip()])
