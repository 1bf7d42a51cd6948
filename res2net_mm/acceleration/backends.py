"""Copies of models for faster inference: ``accelerate``, and the libraries that run the backbones.

A backbone is rewritten (``passes.py``), and computes the same as before. PyTorch runs the result, or ONNX Runtime,
OpenVINO or, on a GPU, the kernel of ``triton/kernel.py``.
"""
from __future__ import annotations

import copy
import io
from typing import TYPE_CHECKING, Callable, Iterable, List

import numpy as np
import torch
from torch import Tensor, fx, nn

from ..models.backbones.base import Backbone
from ..models.heads.res2_shared_head import Res2SharedHead
from .graph import FusedConv
from .passes import rewrite
from .prepared_sizes import PreparedSizes

if TYPE_CHECKING:
    import onnxruntime
    import openvino

Runner = Callable[[np.ndarray], List[np.ndarray]]  # images to outputs


def accelerate(model: nn.Module, backend: str = 'pytorch') -> nn.Module:
    """Make a model faster for inference.

    Args:
        model (nn.Module): One of our backbones, or a model with some in it: a detector, a segmentor, ... Its weights
            are loaded already.
        backend (str): What runs the backbones: 'pytorch', 'onnxruntime', 'openvino' or 'triton'; the package of the
            name must be installed. ONNX Runtime and OpenVINO are for float32 on the CPU, Triton is for NVIDIA GPUs.
            Defaults to 'pytorch'.

    Returns:
        nn.Module: A copy in eval mode that computes the same function, up to rounding. Its backbones have no batch
        norms and other keys, so that they can neither be trained nor loaded. The original is as it was.

    Raises:
        ValueError: If there is no backbone of this package in the model, or no such backend.
        ModuleNotFoundError: If the backend's package is not installed.
    """
    if backend not in BACKENDS:
        raise ValueError(f'accelerate: backend={backend!r} must be one of {", ".join(BACKENDS)}')
    model = copy.deepcopy(model).eval()
    backbones = [(name, module) for name, module in model.named_modules()
                 if isinstance(module, (Backbone, Res2SharedHead))]
    if not backbones:
        raise ValueError(f'accelerate: {type(model).__name__} has no backbone of res2net_mm in it')
    for name, backbone in backbones:
        fast = BACKENDS[backend](rewrite(backbone))
        if not name:
            return fast
        parent, _, child = name.rpartition('.')
        setattr(model.get_submodule(parent), child, fast)
    return model


class Exported(nn.Module):
    """A module that another library runs on the CPU, for images of any size and number.

    It has as many threads as PyTorch. Libraries are faster at sizes that they know when they prepare a model. So a size
    that comes again is prepared for, up to eight of them; others share a model that takes any.

    Args:
        module (fx.GraphModule): A rewritten module, in eval mode.
    """

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__()
        self.out_channels = module.out_channels
        channels = next(conv for conv in module.modules() if isinstance(conv, FusedConv)).weight.shape[1]
        outputs = module(torch.zeros(1, channels, 64, 64))
        self.single = isinstance(outputs, Tensor)
        names = ['out'] if self.single else [f'out{i}' for i in range(len(outputs))]
        axes = {name: {0: 'number', 2: f'height_{name}', 3: f'width_{name}'} for name in ('images', *names)}
        file = io.BytesIO()
        torch.onnx.export(module, (torch.zeros(1, channels, 64, 64), ), file, dynamo=False, input_names=['images'],
                          output_names=names, dynamic_axes=axes)
        self.model = file.getvalue()
        self.any_size = self.prepare()
        self.sizes = PreparedSizes()

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run the module.

        Args:
            images (Tensor): (n, c, h, w), float32 on the CPU.

        Returns:
            Tensor | tuple[Tensor]: What the module returns.

        Raises:
            ValueError: If the images are of another type or elsewhere.
        """
        if images.device.type != 'cpu' or images.dtype != torch.float32:
            raise ValueError(f'{type(self).__name__} runs float32 on the CPU, not {images.dtype} on {images.device}')
        outs = self.run(images.detach().contiguous())
        return outs[0] if self.single else tuple(outs)

    def run(self, images: Tensor) -> list[Tensor]:
        """The list of outputs of contiguous images."""
        shape = tuple(images.shape)
        runner = self.sizes.get(shape, lambda: self.prepare(shape), self.any_size)
        return [torch.from_numpy(out) for out in runner(images.numpy())]

    def prepare(self, shape: tuple[int, ...] | None = None) -> Runner:
        """Prepare the model for images of one shape, or of any if it is None."""
        raise NotImplementedError


class OnnxRuntime(Exported):
    """A module that ONNX Runtime runs."""

    def prepare(self, shape: tuple[int, ...] | None = None) -> Runner:
        names = ('number', 'channels', 'height_images', 'width_images')
        session = onnx_session(self.model, zip(names, shape or ()))
        return lambda images: session.run(None, {'images': images})


class OpenVino(Exported):
    """A module that OpenVINO runs, image by image: the features of one stay in the processor's cache."""

    def prepare(self, shape: tuple[int, ...] | None = None) -> Runner:
        import openvino
        model = openvino.Core().read_model(self.model)
        if shape:
            model.reshape(list(shape))
        compiled = compile_for_openvino(model)
        return lambda images: list(compiled([images]).values())

    def run(self, images: Tensor) -> list[Tensor]:
        outs = zip(*(super(OpenVino, self).run(image) for image in images.split(1)))
        return [torch.cat(out) if len(out) > 1 else out[0] for out in outs]


def onnx_session(model: str | bytes, sizes: Iterable[tuple[str, int]] = ()) -> onnxruntime.InferenceSession:
    """A model in ONNX Runtime, on the CPU, on as many threads as PyTorch.

    Args:
        model (str | bytes): The model's file, or what is in it.
        sizes (Iterable[tuple[str, int]]): Names of sizes that the model leaves open, and what they are. Defaults to ().
    """
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    for name, size in sizes:
        options.add_free_dimension_override_by_name(name, size)
    return onnxruntime.InferenceSession(model, options, providers=['CPUExecutionProvider'])


def compile_for_openvino(model: openvino.Model) -> openvino.CompiledModel:
    """A model compiled by OpenVINO for the CPU, on as many threads as PyTorch, in float32.

    Where the processor has bfloat16, OpenVINO's default is that.
    """
    import openvino
    settings = dict(INFERENCE_NUM_THREADS=torch.get_num_threads(), INFERENCE_PRECISION_HINT='f32')
    return openvino.compile_model(model, 'CPU', settings)


def run_by_pytorch(module: fx.GraphModule) -> nn.Module:
    """The module itself."""
    return module


def run_by_triton(module: fx.GraphModule) -> nn.Module:
    """A module whose convolutions Triton's kernel runs, on an NVIDIA GPU."""
    from .triton.module import TritonBackbone
    return TritonBackbone(module)


# Each takes a rewritten module to one that runs it.
BACKENDS: dict[str, Callable[[fx.GraphModule], nn.Module]] = {
    'pytorch': run_by_pytorch, 'onnxruntime': OnnxRuntime, 'openvino': OpenVino, 'triton': run_by_triton}
