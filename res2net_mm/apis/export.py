"""A trained model as one file that other programs run: ``export``."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..utils.errors import UserError
from ..utils.images import read_image
from ..version import __version__
from .exporting.checks import ExportCheck, check_file
from .exporting.formats import SUFFIXES, check_target, onnx_content, write_file
from .exporting.graphs import OUTPUTS, Backbone, build_graph
from .exporting.image_graphs import ImageGraph
from .exporting.int8 import check_int8_target, write_int8
from .exporting.loading import ModelToExport, load_to_export
from .exporting.preprocess import fix_input_size, fixed_size, read_preprocess
from .model_files import find_model
from .preparation import prepare_image

DETECTOR_FORMATS = ('onnx', 'openvino')
EXAMPLE = (96, 128)  # height and width of the example where any size will do; two numbers, so that none is taken
                     # for the other


def export(model: str,
           out: str | Path | None = None,
           to: str = 'onnx',
           checkpoint: str | None = None,
           input_size: tuple[int, int] | None = None,
           preprocess: bool = False,
           backbone: bool = False,
           check: Sequence[np.ndarray] = (),
           int8: Sequence[str | Path] = ()) -> ExportCheck:
    """Write a model into one file, from images to results, and compare the file with PyTorch.

    Args:
        model (str): What ``find_model`` resolves: a config, its name, or the name of weights.
        out (str | Path | None): The file. Defaults to None, the config's name with the format's suffix.
        to (str): 'onnx', 'openvino', 'torchscript' or 'pt2'. Defaults to 'onnx'.
        checkpoint (str | None): The weights, which have to fit strictly. Defaults to None, those that are public.
        input_size (tuple[int, int] | None): Height and width that the file takes, and no other. Defaults to None: any,
            or the one that the test pipeline makes.
        preprocess (bool): Put the test pipeline into the file: it takes images (n, h, w, 3) uint8, B, G, R. Defaults to
            False: it takes them prepared, (n, 3, h, w) float32.
        backbone (bool): Backbone and neck alone, with outputs out0, out1, ... Defaults to False.
        check (Sequence[np.ndarray]): Images (h, w, 3) uint8, B, G, R, to compare the file with PyTorch on.
            Defaults to ().
        int8 (Sequence[str | Path]): Files of images to calibrate a model of 8 bits with, for 'onnx' and 'openvino'; its
            differences from PyTorch are measured and not judged. Defaults to (), float32.

    Returns:
        ExportCheck: The file, and how it compares on the images of ``check``.

    Raises:
        UserError: If an argument, the config, the checkpoint or a part of the model cannot be used; no file is left.
    """
    files = find_model(model, checkpoint)
    out = Path(f'{files.name}{SUFFIXES.get(to, "")}' if out is None else out)
    check_target(to, out)
    return export_model(load_to_export(files), out, to, input_size, preprocess, backbone, check, int8)


def export_model(loaded: ModelToExport, out: Path, to: str = 'onnx', input_size: tuple[int, int] | None = None,
                 preprocess: bool = False, backbone: bool = False, check: Sequence[np.ndarray] = (),
                 int8: Sequence[str | Path] = ()) -> ExportCheck:
    """Write a model that is loaded already; arguments and errors as those of ``export``."""
    detector = loaded.task == 'detection' and not backbone
    if int8:
        check_int8_target(to)
    if detector and to not in DETECTOR_FORMATS:
        raise UserError(f'--to {to}: a detector can be exported to {" and ".join(DETECTOR_FORMATS)} only, which know '
                        'operations whose number of results depends on the image')
    if detector and input_size:
        raise UserError('--input-size: the file of a detector takes images of any size')
    if backbone and preprocess:
        raise UserError('--preprocess is for whole models, and --backbone is none')
    steps = read_preprocess(loaded.cfg, loaded.model)
    if detector:
        steps['pad_divisor'] = 1  # its graph pads, and knows where the image ends
    if input_size:
        steps = fix_input_size(steps, input_size)
    graph: nn.Module = Backbone(loaded.model).eval() if backbone else build_graph(loaded.model, loaded.task)
    if preprocess:
        graph = ImageGraph(graph, steps).eval()
    example, axes = example_images(loaded.task, detector, fixed_size(steps), bool(input_size), preprocess)
    spec = dict(specification(loaded, steps, backbone, preprocess), fixed=bool(input_size))
    with torch.no_grad():
        number = len(graph(example))
    spec['outputs'] = [f'out{i}' for i in range(number)] if backbone else list(OUTPUTS[loaded.task][:number])
    if not int8:
        write_file(graph, example, to, out, spec, axes)
        return check_file(loaded, out, spec, check)
    write_int8(onnx_content(graph, example, spec, axes), to, out, spec, int8,
               lambda file: calibration_image(file, None if preprocess else steps))
    compared = check_file(loaded, out, spec, check)
    return replace(compared, tolerances=dict.fromkeys(compared.errors, float('inf')))


def calibration_image(file: str | Path, steps: dict[str, Any] | None) -> np.ndarray:
    """The image of a file as a graph takes it: prepared by steps, or itself.

    Raises:
        UserError: If the file is no image.
    """
    try:
        image = read_image(file)
    except OSError as error:
        raise UserError(f'--int8: {error}') from error
    return (image if steps is None else prepare_image(image, steps).array)[None]


def example_images(task: str, detector: bool, size: tuple[int, int] | None, fixed: bool,
                   preprocess: bool) -> tuple[Tensor, list[int]]:
    """Images to trace a graph with, and the axes of theirs whose length may be another one.

    Args:
        task (str): The task.
        detector (bool): Whether the graph takes one image at a time.
        size (tuple[int, int] | None): Height and width of prepared images, if they always have that.
        fixed (bool): Whether the graph may take that size only.
        preprocess (bool): Whether the images are (n, h, w, 3) uint8, else (n, 3, h, w) float32.
    """
    number = 1 if detector else 2  # torch.export would take one image for a constant
    batch = [] if detector else [0]
    if preprocess:
        return torch.randint(256, (number, *EXAMPLE, 3), dtype=torch.uint8), [*batch, 1, 2]
    return torch.randn(number, 3, *(size or EXAMPLE)), batch if fixed or task == 'keypoints' else [*batch, 2, 3]


def specification(loaded: ModelToExport, steps: dict[str, Any], backbone: bool, preprocess: bool) -> dict[str, Any]:
    """What a file says of itself, but for the names of its outputs; every value is JSON."""
    spec: dict[str, Any] = dict(task='backbone' if backbone else loaded.task, name=loaded.name, version=__version__,
                classes=list(loaded.classes), skeleton=[list(link) for link in loaded.skeleton],
                input='image' if preprocess else 'prepared', preprocess=steps)
    if loaded.task == 'segmentation':
        head = loaded.model.decode_head
        spec.update(threshold=getattr(head, 'threshold', None), align_corners=bool(head.align_corners))
    if loaded.task == 'keypoints':
        spec['keypoints'] = loaded.model.head.out_channels
    if loaded.task == 'detection' and loaded.model.test_cfg.get('rcnn'):
        spec['threshold'] = loaded.model.test_cfg.rcnn.get('mask_thr_binary')
    return spec
