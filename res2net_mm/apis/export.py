"""A trained model as one file that other programs run: ``export``."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Sequence

import numpy as np
import torch
from torch import nn

from ..utils.errors import UserError
from ..version import __version__
from .exporting.checks import ExportCheck, check_file
from .exporting.formats import SUFFIXES, check_target, write_file
from .exporting.graphs import OUTPUTS, Backbone, build_graph
from .exporting.loading import ModelToExport, load_to_export
from .exporting.preprocess import fix_input_size, fixed_size, read_preprocess
from .model_files import find_model

EXAMPLE = (224, 256)  # height and width of the example where any size will do; two numbers, so that none is taken
                      # for the other


def export(model: str,
           out: str | Path | None = None,
           to: str = 'onnx',
           checkpoint: str | None = None,
           input_size: tuple[int, int] | None = None,
           preprocess: bool = False,
           backbone: bool = False,
           check: Sequence[np.ndarray] = ()) -> ExportCheck:
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

    Returns:
        ExportCheck: The file, and how it compares on the images of ``check``.

    Raises:
        UserError: If an argument, the config, the checkpoint or a part of the model cannot be used; no file is left.
    """
    name = find_model(model, checkpoint).name if out is None else ''
    out = Path(f'{name}{SUFFIXES.get(to, "")}' if out is None else out)
    check_target(to, out)
    loaded = load_to_export(find_model(model, checkpoint))
    return export_model(loaded, out, to, input_size, preprocess, backbone, check)


def export_model(loaded: ModelToExport, out: Path, to: str = 'onnx', input_size: tuple[int, int] | None = None,
                 preprocess: bool = False, backbone: bool = False, check: Sequence[np.ndarray] = ()) -> ExportCheck:
    """Write a model that is loaded already; arguments and errors as those of ``export``."""
    steps = read_preprocess(loaded.cfg, loaded.model)
    if input_size:
        steps = fix_input_size(steps, input_size)
    size = fixed_size(steps)
    spec = specification(loaded, steps, backbone)
    graph: nn.Module = Backbone(loaded.model) if backbone else build_graph(loaded.model, loaded.task)
    example = torch.randn(2, 3, *(size or EXAMPLE))  # torch.export would take one image for a constant
    if backbone:
        with torch.no_grad():
            spec['outputs'] = [f'out{i}' for i in range(len(graph.eval()(example)))]
    axes = [0] if size and (input_size or loaded.task == 'keypoints') else [0, 2, 3]
    write_file(graph, example, to, out, spec, axes)
    return check_file(loaded, out, spec, check)


def specification(loaded: ModelToExport, steps: dict[str, Any], backbone: bool) -> dict[str, Any]:
    """What a file says of itself; every value is JSON."""
    head = getattr(loaded.model, 'decode_head', None)
    spec = dict(task='backbone' if backbone else loaded.task, name=loaded.name, version=__version__,
                classes=list(loaded.classes), skeleton=[list(link) for link in loaded.skeleton], input='prepared',
                preprocess=steps, outputs=list(OUTPUTS.get(loaded.task, ())))
    if loaded.task == 'segmentation':
        spec['threshold'] = getattr(head, 'threshold', None)
    if loaded.task == 'keypoints':
        spec['keypoints'] = loaded.model.head.out_channels
    return spec
