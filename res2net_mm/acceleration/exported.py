"""Backbones that ONNX Runtime and OpenVINO run."""
from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING, Any, Callable, Iterable, List

import numpy as np
import torch
from torch import Tensor, nn

from ..utils.openvino_core import openvino_core
from .fused_conv import has_finite_sum
from .prepared_sizes import PreparedSizes

if TYPE_CHECKING:
    import onnxruntime
    import openvino

Runner = Callable[[np.ndarray], List[np.ndarray]]  # images to outputs


class Exported(nn.Module):
    """A module that another library runs on the CPU, for images of any size and number.

    It has as many threads as PyTorch. Libraries are faster at sizes that they know when they prepare a model. So a size
    that comes again is prepared for, up to eight of them; others share a model that takes any.

    Args:
        module (nn.Module): The module, in eval mode.
        images (Tensor): (n, c, h, w), an example of what it takes.
    """

    def __init__(self, module: nn.Module, images: Tensor) -> None:
        super().__init__()
        self.refuse_others(images)
        outputs = module(images)
        self.single = isinstance(outputs, Tensor)
        names = ['out'] if self.single else [f'out{i}' for i in range(len(outputs))]
        axes = {name: {0: 'number', 2: f'height_{name}', 3: f'width_{name}'} for name in ('images', *names)}
        file = io.BytesIO()
        torch.onnx.export(module, (images, ), file, dynamo=False, input_names=['images'], output_names=names,
                          dynamic_axes=axes)
        self.model = file.getvalue()
        self.any_size = self.prepare()
        self.sizes = PreparedSizes()

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run the module.

        Args:
            images (Tensor): (n, c, h, w), float32 on the CPU.

        Returns:
            Tensor | tuple[Tensor]: What the module returns, contiguous.

        Raises:
            ValueError: If the images are of another type or elsewhere, are not finite, or need a gradient.
        """
        self.refuse_others(images)
        outs = self.run(images.detach().contiguous())
        return outs[0] if self.single else tuple(outs)

    def refuse_others(self, images: Tensor) -> None:
        """Raise a ValueError for images that the library cannot take."""
        name = type(self).__name__
        if images.device.type != 'cpu' or images.dtype != torch.float32:
            raise ValueError(f'{name} runs float32 on the CPU, not {images.dtype} on {images.device}')
        if not has_finite_sum(images):  # ReLUs and poolings of libraries make numbers of them
            raise ValueError(f'{name}: the images are not finite')
        if torch.is_grad_enabled() and images.requires_grad:
            raise ValueError(f'{name} has no gradients: call it under torch.no_grad(), or detach the images')

    def run(self, images: Tensor) -> list[Tensor]:
        """The list of outputs of contiguous images."""
        shape = tuple(images.shape)
        runner = self.sizes.get(shape, lambda: self.prepare(shape), self.any_size)
        return [torch.from_numpy(out) for out in runner(images.numpy())]

    def prepare(self, shape: tuple[int, ...] | None = None) -> Runner:
        """Prepare the model for images of one shape, or of any if it is None."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != 'any_size'}  # no library can copy its own

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.any_size = self.prepare()


class OnnxRuntime(Exported):
    """A module that ONNX Runtime runs."""

    def prepare(self, shape: tuple[int, ...] | None = None) -> Runner:
        names = ('number', 'channels', 'height_images', 'width_images')
        session = onnx_session(self.model, zip(names, shape or ()))
        return lambda images: session.run(None, {'images': images})


class OpenVino(Exported):
    """A module that OpenVINO runs, image by image: the features of one stay in the processor's cache."""

    def prepare(self, shape: tuple[int, ...] | None = None) -> Runner:
        model = openvino_core().read_model(self.model)
        if shape:
            model.reshape(list(shape))
        compiled, lock = compile_for_openvino(model), threading.Lock()

        def run(images: np.ndarray) -> list[np.ndarray]:
            with lock:  # a compiled model is for one caller at a time
                return list(compiled([images]).values())

        return run

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
    settings = dict(INFERENCE_NUM_THREADS=torch.get_num_threads(), INFERENCE_PRECISION_HINT='f32')
    return openvino_core().compile_model(model, 'CPU', settings)
