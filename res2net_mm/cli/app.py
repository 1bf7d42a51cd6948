"""The command ``tools/app.py``: a page on which one can try models on images."""
from __future__ import annotations

import argparse
import ipaddress
import os
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Sequence

from ..apis.model_files import demo_models, find_model
from ..utils.config import demo_folder
from ..utils.errors import UserError
from ..utils.images import SUFFIXES
from .app_models import Limits, LoadModels
from .app_worker import Worker
from .arguments import debug_argument, device_argument, trust_argument
from .command import run_tool

if TYPE_CHECKING:
    import torch

GRADIO = 6  # the major version that the page is written for


class AddCheckpoint(argparse.Action):
    """``--checkpoint FILE``: that of the ``--model`` before it."""

    def __call__(self, parser: argparse.ArgumentParser, args: argparse.Namespace, value: Any,
                 option: str | None = None) -> None:
        """Set it."""
        if not args.model or args.model[-1][1] is not None:
            parser.error(f'--checkpoint {value}: it belongs behind its --model')
        args.model[-1] = (args.model[-1][0], value)


def main(argv: Sequence[str] | None = None) -> None:
    """Serve the page until it is interrupted."""
    limits = Limits()
    parser = argparse.ArgumentParser(description='Open a page on which one can try models on images.')
    parser.add_argument('--model', action='append', default=[], type=lambda name: (name, None), metavar='MODEL',
                        help='a config, or the name of one or of weights; may be repeated. The models that come with '
                             'the package are on the page, too')
    parser.add_argument('--checkpoint', action=AddCheckpoint, metavar='FILE',
                        help='the checkpoint of the --model before it (its public weights)')
    parser.add_argument('--host', default='127.0.0.1', metavar='ADDRESS',
                        help='the address to listen at (127.0.0.1: only this machine can open the page)')
    parser.add_argument('--port', type=int, default=7860, metavar='N', help='the port to listen at (7860)')
    parser.add_argument('--megabytes', type=positive, default=limits.megabytes, metavar='N',
                        help=f'the most that a file may have ({limits.megabytes:g})')
    parser.add_argument('--megapixels', type=positive, default=limits.megapixels, metavar='N',
                        help=f'the most that an image may have ({limits.megapixels:g})')
    parser.add_argument('--seconds', type=positive, default=limits.seconds, metavar='N',
                        help=f'the most that an answer may take ({limits.seconds:g})')
    device_argument(parser)
    trust_argument(parser)
    debug_argument(parser)
    run_tool(run_app, parser.parse_args(argv))


def positive(text: str) -> float:
    """A number above 0."""
    number = float(text)
    if not 0 < number < float('inf'):
        raise ValueError(text)
    return number


def run_app(args: argparse.Namespace, device: torch.device) -> None:
    """Load the models, and serve the page until it is interrupted.

    Raises:
        UserError: If gradio is missing, or a model cannot be loaded; the message says how to mend it.
        OSError: If the port is taken.
    """
    shipped = sorted(demo_models(), key=lambda name: 'faster_rcnn' not in name)  # the detector is what one sees first
    models = [(name, None) for name in shipped] + args.model
    if not models:
        raise UserError('no models: name one with --model MODEL')
    for model in models:
        find_model(*model)  # before anything is loaded
    limits = Limits(args.megabytes, args.megapixels, args.seconds)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # so that uploads are deleted
    with TemporaryDirectory(prefix='res2net_mm_app_') as folder:
        configure_gradio(folder)
        from .app_page import build_page, serve_page
        worker = Worker(LoadModels(models, limits, str(device), args.trust_checkpoint), limits.seconds)
        try:
            page = build_page(worker, worker.started, limits, example_images())
            if not is_local(args.host):
                print(f'warning: --host {args.host}: other machines can open the page, and there is no password',
                      file=sys.stderr)
            print(f'{serve_page(page, args.host, args.port, limits)}  (Ctrl-C ends it)', flush=True)
            page.block_thread()
        finally:
            worker.close()


def configure_gradio(folder: str) -> None:
    """Have gradio send nothing anywhere, and keep uploads in a folder of ours; call it before gradio is imported.

    Args:
        folder (str): Where uploads go.

    Raises:
        UserError: If gradio is missing, or of another major version.
    """
    os.environ.update(GRADIO_ANALYTICS_ENABLED='False', GRADIO_TEMP_DIR=folder, GRADIO_RUN_HISTORY='False',
                      HF_HUB_DISABLE_TELEMETRY='1')
    try:
        import gradio
    except ImportError as error:
        raise UserError("the page needs the package gradio: pip install 'res2net_mm[app]'") from error
    if int(gradio.__version__.partition('.')[0]) != GRADIO:
        raise UserError(f"the page needs gradio {GRADIO}, and {gradio.__version__} is installed: "
                        "pip install 'res2net_mm[app]'")


def example_images() -> list[Path]:
    """The images that come with the package."""
    return sorted(path for path in demo_folder().glob('*') if path.suffix.lower() in SUFFIXES)


def is_local(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == 'localhost'
