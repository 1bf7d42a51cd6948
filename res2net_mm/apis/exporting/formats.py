"""Files of graphs: ONNX, OpenVINO, TorchScript and torch.export's, each with its specification in its metadata.

ONNX files are written by PyTorch's exporter that traces (``dynamo=False``), OpenVINO's from them; docs/export.md has
the measurements behind that.
"""
from __future__ import annotations

import io
import json
import shutil
import tempfile
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any, Callable, Sequence

import torch
from torch import Tensor, nn

from ...utils.errors import UserError
from ...utils.whole_file import whole_file
from ..exported import SPEC_KEY

OPSET = 18
SUFFIXES = dict(onnx='.onnx', openvino='.xml', torchscript='.pt', pt2='.pt2')
PACKAGES = dict(onnx=('onnx', ), openvino=('onnx', 'openvino'), torchscript=(), pt2=())
Axes = Sequence[int]  # of the images: those of any length


def check_target(to: str, out: Path) -> None:
    """Look at a format and a file before anything is built.

    Raises:
        UserError: If there is no such format, its package is not installed, the file's suffix is of another one, or
            its folder does not exist.
    """
    if to not in SUFFIXES:
        raise UserError(f"--to {to}: must be one of {', '.join(SUFFIXES)}")
    if out.suffix != SUFFIXES[to]:
        raise UserError(f"--out {out}: a file of --to {to} must end with '{SUFFIXES[to]}'")
    if not out.parent.is_dir():
        raise UserError(f"--out {out}: the folder '{out.parent}' does not exist")
    for package in PACKAGES[to]:
        try:
            import_module(package)
        except ModuleNotFoundError as error:
            raise UserError(f"--to {to}: {package} is not installed: pip install 'res2net_mm[export]'") from error


def write_file(graph: nn.Module, example: Tensor, to: str, out: Path, spec: dict[str, Any], axes: Axes) -> None:
    """Write a graph.

    Args:
        graph (nn.Module): From images to a tuple of outputs, in eval mode.
        example (Tensor): Images that it takes.
        to (str): A key of ``SUFFIXES``.
        out (Path): The file; OpenVINO writes a second one beside it, ``.bin``.
        spec (dict): What the file says of itself; ``outputs`` are the names of the outputs.
        axes (Sequence[int]): The axes of the images whose length may be another one than the example's.

    Raises:
        UserError: If the exporter fails; the message has its first line.
        OSError: If the file cannot be written.
    """
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of tracing: what the traced graph computes is compared
        try:
            WRITERS[to](graph, example, out, spec, axes)
        except OSError:
            raise
        except Exception as error:  # each exporter has its own
            hint = ' for images of any size; give it one with --input-size H W' if set(axes) - {0} else ''
            line = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise UserError(f"--to {to}: {spec['name']} cannot be exported{hint} ({line[:200]})") from error


def write_onnx(graph: nn.Module, example: Tensor, out: Path, spec: dict[str, Any], axes: Axes) -> None:
    """Write ONNX; see ``write_file``."""
    content = onnx_content(graph, example, spec, axes)
    with whole_file(out, len(content)) as file:
        file.write(content)


def onnx_content(graph: nn.Module, example: Tensor, spec: dict[str, Any], axes: Axes) -> bytes:
    """A graph as ONNX, checked, with its specification; arguments as of ``write_file``."""
    import onnx
    names, first = spec['outputs'], 'number' if 0 in axes else 'objects'
    dynamic = {'images': {axis: first if axis == 0 else f'images_{axis}' for axis in axes}}
    for name in names:
        maps = spec['task'] in ('segmentation', 'saliency', 'backbone') and set(axes) - {0}
        dynamic[name] = {0: first, **({-2: f'{name}_height', -1: f'{name}_width'} if maps else {})}
    buffer = io.BytesIO()
    torch.onnx.export(graph, (example, ), buffer, dynamo=False, opset_version=OPSET, input_names=['images'],
                      output_names=names, dynamic_axes=dynamic)
    return label_onnx(onnx.load_from_string(buffer.getvalue()), spec)


def label_onnx(model: Any, spec: dict[str, Any]) -> bytes:
    """Check an ONNX model, and return it with its specification in it."""
    import onnx
    onnx.checker.check_model(model, full_check=True)
    onnx.helper.set_model_props(model, {SPEC_KEY: json.dumps(spec)})
    return model.SerializeToString()


def write_openvino(graph: nn.Module, example: Tensor, out: Path, spec: dict[str, Any], axes: Axes) -> None:
    """Write OpenVINO's two files; see ``write_file``."""
    import openvino
    with tempfile.TemporaryDirectory() as folder:
        onnx_file = Path(folder) / 'graph.onnx'
        onnx_file.write_bytes(onnx_content(graph, example, spec, axes))
        save_openvino(openvino.convert_model(onnx_file), out, spec)


def save_openvino(model: Any, out: Path, spec: dict[str, Any]) -> None:
    """Write an openvino.Model in its own precision, with its specification; whoever finds the .xml has all of it."""
    import openvino
    model.set_rt_info(json.dumps(spec), SPEC_KEY)
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / 'graph.xml'
        openvino.save_model(model, saved, compress_to_fp16=False)
        out.unlink(missing_ok=True)  # an old one does not fit the new weights
        for source, target in ((saved.with_suffix('.bin'), out.with_suffix('.bin')), (saved, out)):
            with whole_file(target, source.stat().st_size) as file, open(source, 'rb') as content:
                shutil.copyfileobj(content, file)


def file_size(file: Path) -> int:
    """The bytes of an exported file, and of OpenVINO's second one."""
    return file.stat().st_size + (file.with_suffix('.bin').stat().st_size if file.suffix == SUFFIXES['openvino'] else 0)


def write_torchscript(graph: nn.Module, example: Tensor, out: Path, spec: dict[str, Any], axes: Axes) -> None:
    """Write TorchScript, traced, so of any size where the graph is; see ``write_file``."""
    traced = torch.jit.trace(graph, (example, ), check_trace=False)
    with whole_file(out) as file:
        torch.jit.save(traced, file, _extra_files={SPEC_KEY: json.dumps(spec)})


def write_pt2(graph: nn.Module, example: Tensor, out: Path, spec: dict[str, Any], axes: Axes) -> None:
    """Write what ``torch.export`` makes; see ``write_file``."""
    sizes = dict.fromkeys(axes, torch.export.Dim.DYNAMIC)
    program = torch.export.export(graph, (example, ), dynamic_shapes=(sizes, ) if axes else None)
    with whole_file(out) as file:
        torch.export.save(program, file, extra_files={SPEC_KEY: json.dumps(spec)})


WRITERS: dict[str, Callable] = dict(onnx=write_onnx, openvino=write_openvino, torchscript=write_torchscript,
                                    pt2=write_pt2)
