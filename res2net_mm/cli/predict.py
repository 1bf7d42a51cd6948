"""The command ``tools/predict.py``: boxes, masks, segments, keypoints, salient objects or classes of any images."""
from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Sequence

from ..utils.errors import UserError
from .arguments import accelerate_argument, debug_argument, device_argument, trust_argument
from .command import run_command
from .device import choose_device
from .runner import read_safely

if TYPE_CHECKING:
    from rich.progress import Progress

    from ..apis.predict import PredictionRun, Result

LEAVE = (ord('q'), 27)  # keys that end --show


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command.

    Args:
        argv (Sequence[str] | None): Its arguments. Defaults to None: those of the process.
    """
    run_command(run_predict, build_parser().parse_args(argv), errors=(UserError, OSError))


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    parser = argparse.ArgumentParser(
        description='Show what a classifier, detector, segmentor, saliency model or pose estimator sees.')
    parser.add_argument('model', metavar='MODEL', help="a config, the name of one of ours or of public weights "
                        "(docs/weights.md), or 'demo'; a config is a program, and is run")
    parser.add_argument('inputs', nargs='+', metavar='INPUT', help="an image, a video, a folder (its images, also in "
                        "folders inside), a pattern in quotes ('day*/*.jpg'), the address of an image, or the index of "
                        "a camera, whose run Ctrl-C ends")
    parser.add_argument('--checkpoint', metavar='FILE', help='checkpoint of the model (public weights of it, if any)')
    parser.add_argument('--detector', metavar='MODEL', help='for a pose estimator: the model that finds the objects; '
                        "takes its class of the same name, such as person, or all if it has none (without: the whole "
                        'image is one object)')
    parser.add_argument('--detector-checkpoint', metavar='FILE', help='checkpoint of the detector')
    parser.add_argument('--out', type=Path, metavar='DIR', help='draw pictures into DIR, and videos of videos '
                        '(work_dirs/predict/NAME; with --json alone none are drawn)')
    parser.add_argument('--json', type=Path, metavar='FILE', help="write results to FILE, in COCO's format")
    parser.add_argument('--score', type=score, metavar='SCORE',
                        help='the least score of an object, 0 to 1 (0.3 in pictures, 0 in FILE)')
    parser.add_argument('--classes', nargs='+', metavar='NAME', help='the classes to show and to write (all)')
    parser.add_argument('--batch-size', type=int, default=1, metavar='N',
                        help='how many images go through the model at once (%(default)s)')
    parser.add_argument('--amp', nargs='?', const='float16', choices=('float16', 'bfloat16'),
                        help='mixed precision, in float16 (on a GPU) or the type that is given')
    accelerate_argument(parser)
    parser.add_argument('--resume', action='store_true',
                        help='go on with the same command where it was interrupted, and try what was bad again')
    parser.add_argument('--show', action='store_true', help='show the pictures in a window; q ends the run')
    device_argument(parser)
    trust_argument(parser)
    debug_argument(parser)
    return parser


def score(text: str) -> float:
    """A score of the command line."""
    try:
        value = float(text)
    except ValueError:
        value = -1.
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f'{text!r} must be a number from 0 to 1')
    return value


def run_predict(args: argparse.Namespace) -> None:
    """Predict as the arguments say, and print how many images there were.

    Raises:
        UserError: If an argument or a file cannot be used, or some of the inputs were bad.
    """
    if args.show and sys.platform.startswith('linux') and not (
            os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY')):
        raise UserError('--show: there is no display; draw into a folder with --out DIR')
    choose_device(args.device)
    read_safely(args)
    from ..apis.predict import PredictionRun
    from ..apis.predictor import Predictor
    # choose_device has made the GPU that was asked for the first
    device = args.device and args.device.partition(':')[0]
    predictor = Predictor(args.model, args.checkpoint, device, args.amp, args.accelerate, args.detector,
                          args.detector_checkpoint)
    out = args.out or (None if args.json else Path('work_dirs') / 'predict' / predictor.name)
    run = PredictionRun(predictor, args.inputs, args.batch_size, out, args.json, args.score, args.classes, args.resume)
    images = go_through(run, args.show)

    kept = f', {run.skipped} were done before' if run.skipped else ''
    print(f'{images} images{kept}; {predictor.name} on {predictor.device}')
    for what, where in (('pictures', out), ('results', args.json)):
        if where is not None:
            print(f'  {what}: {where}')
    if run.bad:
        raise UserError(f'{run.bad} of {len(run.inputs)} inputs were bad and left out; they are named above')


def go_through(run: PredictionRun, show: bool) -> int:
    """Have a run done, with a bar of its progress and a line for each bad input; returns the number of its images."""
    total = None if any(one.is_moving for one in run.inputs) else len(run.inputs) - run.skipped
    images = 0
    with progress_bar() as progress:
        task = progress.add_task(run.predictor.task, total=total)
        try:
            for result in run:
                if result.error:
                    progress.console.print(f'bad: {result.error}', markup=False, highlight=False, soft_wrap=True)
                else:
                    images += 1
                progress.advance(task)
                if show and result.prediction and not show_result(run, result):
                    break
        except KeyboardInterrupt:
            raise UserError('interrupted; the same command goes on with --resume') from None
        finally:
            run.close()
    return images


def progress_bar() -> Progress:
    """A bar with the number of images and images per second, on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Speed(ProgressColumn):
        """Images per second."""

        def render(self, task):
            speed = task.finished_speed or task.speed
            return Text(f'{speed:.1f} images/s' if speed else '')

    return Progress(TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), Speed(),
                    TimeRemainingColumn(), console=Console(stderr=True))


def show_result(run: PredictionRun, result: Result) -> bool:
    """Show a picture in a window, that of an image until a key is pressed; returns whether to go on."""
    import cv2

    from ..apis.drawing import SCORE, draw_prediction
    assert result.image is not None and result.prediction is not None
    drawn = draw_prediction(result.image, result.prediction, SCORE if run.score is None else run.score, run.classes)
    try:
        cv2.imshow(run.predictor.name, drawn)
        return cv2.waitKey(1 if result.input.is_moving else 0) & 0xFF not in LEAVE
    except cv2.error as error:  # OpenCV without windows
        raise UserError(f'--show: OpenCV shows no window here ({error.err}); draw with --out DIR') from error
