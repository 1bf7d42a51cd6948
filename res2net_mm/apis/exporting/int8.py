"""Files with weights and activations of 8 bits, calibrated on images.

Only convolutions and products of matrices are quantised, and what OpenVINO fuses with them. The first of them and the
last, whose outputs are scores, boxes or masks, stay in float32: they are a small part of the work, and all of the
result. So does everything that is no such layer: softmax, sigmoid, RoiAlign, sorting and non-maximum suppression.
"""
from __future__ import annotations

import random
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Sequence

import numpy as np

from ...utils.errors import UserError
from ...utils.images import SUFFIXES
from ...utils.openvino_core import openvino_core

SAMPLES = 300  # for calibration: what NNCF takes, too
LAYERS = ('Conv', 'ConvTranspose', 'Gemm', 'MatMul')
QUANTISED = ('Conv', 'Gemm', 'MatMul')  # what ONNX Runtime has in 8 bits for a processor, and is worth it
PACKAGES = dict(onnx='onnxruntime.quantization', openvino='nncf')
Feed = Dict[str, np.ndarray]


def choose_images(folder: str | Path, number: int = SAMPLES, seed: int = 0) -> list[Path]:
    """Files of images to calibrate with, the same ones each time.

    Args:
        folder (str | Path): A folder; those below it are searched, too.
        number (int): How many, at most. Defaults to 300.
        seed (int): Which. Defaults to 0.

    Raises:
        UserError: If there is no image.
    """
    files = sorted(file for file in Path(folder).rglob('*') if file.suffix.lower() in SUFFIXES)
    if not files:
        raise UserError(f"--int8 {folder}: there is no image in that folder, with {', '.join(SUFFIXES)}")
    return sorted(random.Random(seed).sample(files, min(number, len(files))))


def check_int8_target(to: str) -> None:
    """Look at a format before anything is built.

    Raises:
        UserError: If there are no files of 8 bits in that format, or the package that makes them is missing.
    """
    if to not in PACKAGES:
        raise UserError(f"--int8 with --to {to}: must be one of {', '.join(PACKAGES)}")
    try:
        import_module(PACKAGES[to])
    except ModuleNotFoundError as error:
        raise UserError(f"--int8: {error.name} is not installed: pip install 'res2net_mm[int8]'") from error


def float_layers(model: Any) -> list[str]:
    """The names of the layers of an onnx.ModelProto that stay in float32: the first and the last ones.

    A last layer is one whose output reaches an output, or a non-maximum suppression, and no other layer before.
    """
    ends = {output.name for output in model.graph.output}
    layers = [node for node in model.graph.node if node.op_type in LAYERS]

    def is_last(layer: Any) -> bool:
        after = list(reached_nodes(model, [layer]))
        return any(node.op_type == 'NonMaxSuppression' or ends & set(node.output) for node in [layer, *after])

    return [node.name for node in layers if node is layers[0] or is_last(node)]


def float_nodes(model: Any) -> list[str]:
    """The names of ``float_layers``, and of all that computes with their outputs or with sizes.

    NNCF would give these 8 bits, too: sums and products of coordinates, in which a detector's boxes are lost.
    """
    layers = float_layers(model)[1:]
    starts = [node for node in model.graph.node if node.op_type == 'Shape' or node.name in layers]
    return [*float_layers(model), *(node.name for node in reached_nodes(model, starts))]


def reached_nodes(model: Any, starts: Sequence[Any]) -> Iterator[Any]:
    """The nodes that outputs of nodes reach, each once, up to the next layer, RoiAlign or Shape, without these."""
    users: dict[str, list] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    waiting, seen = [name for start in starts for name in start.output], set()
    while waiting:
        for node in users.get(waiting.pop(), []):
            if node.op_type not in (*LAYERS, 'RoiAlign', 'Shape') and node.name not in seen:
                seen.add(node.name)
                waiting.extend(node.output)
                yield node


def quantise_onnx(content: bytes, feeds: Callable[[], Iterator[np.ndarray]]) -> Any:
    """An ONNX model in 8 bits: QDQ nodes that ONNX Runtime fuses with the layers.

    Weights have a scale for each output channel and 7 bits: with 8 the sums of two products overflow 16 bits on
    processors without VNNI. Activations are asymmetric, from their smallest to their largest value.

    Args:
        content (bytes): The model in float32.
        feeds (Callable): Returns an iterator over the inputs to calibrate with.

    Returns:
        onnx.ModelProto: The model.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process
    with tempfile.TemporaryDirectory() as folder:
        source, prepared, out = (str(Path(folder) / name) for name in ('float.onnx', 'prepared.onnx', 'int8.onnx'))
        Path(source).write_bytes(content)
        quant_pre_process(source, prepared, skip_symbolic_shape=True)  # folds batch norms; sizes of boxes are unknown
        model = onnx.load(prepared)
        quantize_static(prepared, out, OnnxFeeds(model.graph.input[0].name, feeds()), quant_format=QuantFormat.QDQ,
                        op_types_to_quantize=list(QUANTISED), nodes_to_exclude=float_layers(model), per_channel=True,
                        reduce_range=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
        return onnx.load(out)


class OnnxFeeds:
    """What ONNX Runtime's calibration reads: one input after the other.

    Args:
        name (str): The name of the model's input.
        arrays (Iterator[np.ndarray]): The inputs.
    """

    def __init__(self, name: str, arrays: Iterator[np.ndarray]) -> None:
        self.name, self.arrays = name, arrays

    def get_next(self) -> Feed | None:
        """The next input, or None at the end."""
        array = next(self.arrays, None)
        return None if array is None else {self.name: array}

    def __iter__(self) -> OnnxFeeds:
        return self

    def __next__(self) -> Feed:
        feed = self.get_next()
        if feed is None:
            raise StopIteration
        return feed


def quantise_openvino(content: bytes, feeds: Callable[[], Iterator[np.ndarray]], number: int) -> Any:
    """A model in 8 bits for OpenVINO, by NNCF's post-training quantisation.

    Args:
        content (bytes): The model in float32, as ONNX.
        feeds (Callable): Returns an iterator over the inputs to calibrate with.
        number (int): How many there are.

    Returns:
        openvino.Model: The model.
    """
    import nncf
    import onnx
    model = openvino_core().read_model(content)
    names = {node.get_friendly_name() for node in model.get_ops()}
    kept = [name for name in float_nodes(onnx.load_from_string(content)) if name in names]
    return nncf.quantize(model, nncf.Dataset(Repeated(feeds)), subset_size=number,
                         preset=nncf.QuantizationPreset.MIXED,
                         ignored_scope=nncf.IgnoredScope(names=sorted(set(kept))))


class Repeated:
    """An iterable that begins anew each time: NNCF reads the inputs twice.

    Args:
        feeds (Callable): Returns an iterator.
    """

    def __init__(self, feeds: Callable[[], Iterator[np.ndarray]]) -> None:
        self.feeds = feeds

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.feeds()


def write_int8(content: bytes, to: str, out: Path, spec: dict[str, Any], inputs: Sequence[Any],
               prepare: Callable[[Any], np.ndarray]) -> None:
    """Write a model in 8 bits.

    Args:
        content (bytes): The model in float32, as ONNX.
        to (str): A key of ``PACKAGES``.
        out (Path): The file.
        spec (dict): What the file says of itself.
        inputs (Sequence): What to calibrate with, such as files.
        prepare (Callable): Makes an input of the model of each, when it is its turn.

    Raises:
        OSError: If the file cannot be written.
    """
    from ...utils.whole_file import whole_file
    from .formats import label_onnx, save_openvino

    def feeds() -> Iterator[np.ndarray]:
        return map(prepare, inputs)

    if to == 'openvino':
        save_openvino(quantise_openvino(content, feeds, len(inputs)), out, spec)
        return
    labelled = label_onnx(quantise_onnx(content, feeds), spec)
    with whole_file(out, len(labelled)) as file:
        file.write(labelled)
