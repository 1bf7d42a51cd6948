"""The command ``tools/dev/predict_overhead.py``: what tools/predict.py costs beside the model that it runs.

    tools/dev/predict_overhead.py imagenet_r2n50_26w4s FOLDER --checkpoint FILE

Image by image, in turns: the model alone, on images that are prepared; the toolbox's own inferencer, on images that are
read; a run that reads files and writes records; and one that draws pictures, too. Then the start of the command and of
a script with the inferencer alone. Counted is the time of the processor, which other programs do not change.
"""
from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Sequence

from ..utils.config import load_config, tool_path
from ..utils.images import read_image
from ..utils.text import markdown_table
from .arguments import debug_argument, device_argument, trust_argument
from .command import run_command
from .device import choose_device
from .runner import read_safely

ALONE = dict(  # what a user of the toolbox would write
    mmdet="from mmdet.apis import DetInferencer; DetInferencer({!r}, {!r}, device='cpu')({!r})",
    mmseg="from mmseg.apis import MMSegInferencer; MMSegInferencer({!r}, {!r}, device='cpu')({!r})",
    mmpretrain='from mmpretrain import ImageClassificationInferencer as I; I({!r}, {!r}, device="cpu")({!r})')
SETTLED = 20  # images, after which memory should not grow


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('model', metavar='MODEL')
    parser.add_argument('images', metavar='FOLDER')
    parser.add_argument('--checkpoint', metavar='FILE')
    parser.add_argument('--number', type=int, default=200, help='how many images (%(default)s), repeated if need be')
    device_argument(parser)
    trust_argument(parser)
    debug_argument(parser)
    run_command(measure, parser.parse_args(argv))


def measure(args: argparse.Namespace) -> None:
    """Measure as the arguments say, and print a table."""
    choose_device(args.device)
    read_safely(args)
    from ..apis.inputs import find_inputs
    from ..apis.predictor import Predictor
    predictor = Predictor(args.model, args.checkpoint, args.device)
    files = [one.source for one in find_inputs([args.images])]
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / 'images'
        images.mkdir()
        for number in range(args.number):
            os.symlink(os.path.abspath(files[number % len(files)]), images / f'{number}{Path(files[0]).suffix}')
        times, memory = time_images(predictor, images, Path(folder))
    base = statistics.median(times['the model alone'])
    print(markdown_table(('what', 'ms', 'beside the model'), [
        (name, f'{1000 * statistics.median(values):.1f}',
         f'{100 * (statistics.median(a / b for a, b in zip(values, times["the model alone"])) - 1):+.1f} %')
        for name, values in times.items()]))
    print(f'{args.number} images, {base * 1000:.0f} ms each; memory after {len(memory)} images {memory[-1]:.0f} MiB, '
          f'after {SETTLED} {memory[min(SETTLED, len(memory)) - 1]:.0f} MiB')
    print_starts(predictor, files[0])


def time_images(predictor: Any, images: Path, folder: Path) -> tuple[dict[str, list[float]], list[float]]:
    """Seconds for each image of each way, and the memory of the process after each image, in MiB."""
    from ..apis.predict import PredictionRun
    inference = predictor.inference
    runs = {'tools/predict.py --json': PredictionRun(predictor, [images], json=folder / 'a.json'),
            'tools/predict.py --json --out': PredictionRun(predictor, [images], json=folder / 'b.json',
                                                           out=folder / 'pictures')}
    times: dict[str, list[float]] = {name: [] for name in ('the model alone', "the toolbox's inferencer", *runs)}
    memory = []
    for one in runs['tools/predict.py --json'].inputs:
        image = read_image(one.source)
        batch = inference.collate([inference.prepare(image)])
        times['the model alone'].append(seconds(inference.inferencer.forward, batch))
        times["the toolbox's inferencer"].append(seconds(infer, inference, image))
        for name, run in runs.items():
            times[name].append(seconds(next, run))
        memory.append(int(Path('/proc/self/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 2**20)
    return times, memory


def infer(inference: Any, image: Any) -> None:
    """Send an image through the test pipeline and the model, as the toolbox's inferencer does."""
    inference.inferencer.forward(inference.collate([inference.prepare(image)]))


def seconds(function: Callable[..., object], *arguments: Any) -> float:
    """The time of the processor that a call takes."""
    start = time.process_time()
    function(*arguments)
    return time.process_time() - start


def print_starts(predictor: Any, image: str) -> None:
    """Print how long the command takes for one image, from the start of the process, and the inferencer alone."""
    files = predictor.files
    toolbox = load_config(files.config).default_scope
    if toolbox not in ALONE:
        return
    script = ALONE[toolbox].format(files.config, files.checkpoint, image)
    with tempfile.TemporaryDirectory() as folder:
        command = [str(tool_path('predict.py')), files.config, image, '--checkpoint', files.checkpoint,
                   '--device', 'cpu', '--out', folder]
        ours, theirs = ([of_process([sys.executable, *rest]) for _ in range(3)] for rest in (command, ['-c', script]))
    print(f'first result after {min(ours):.1f} s; {toolbox} alone {min(theirs):.1f} s (the least of three)')


def of_process(command: list[str]) -> float:
    """The time of the processor that a command takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
