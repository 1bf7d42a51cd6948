"""A backbone whose graph the engine runs, and PyTorch where the engine cannot."""
from __future__ import annotations

import ctypes
import weakref
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Any, Sequence

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.split_module import split_module
from torch.nn.modules import module as torch_module

from ..eager import is_cpu_autocast_on, is_eager
from ..fused_conv import FusedConv, NotFiniteError, are_operators_alone, has_finite_sum
from ..kernel_build import build, build_folder
from .program import CONVOLUTION, OUTPUT, Buffer, Compiled, Layer, as_array, calls_split, compiled, is_native, is_part

SOURCE = Path(__file__).with_name('engine.cpp')
HEADERS = [SOURCE.with_name(name) for name in ('kernel.h', 'team.h', 'vector.h', 'winograd.h')]
FLAGS = ['-std=c++20', '-O3', '-march=native', '-fopenmp', '-ffp-contract=fast', '-fno-math-errno',
         '-fno-trapping-math', '-Wno-psabi']


class Images(ctypes.Structure):
    """A tensor, as in engine.cpp."""

    _fields_ = [('data', ctypes.c_void_p), ('size', ctypes.c_long * 2), ('stride', ctypes.c_long * 4)]


@lru_cache(maxsize=None)
def engine() -> ctypes.CDLL:
    """The engine, compiled when it is first asked for.

    Raises:
        RuntimeError: If there is no C++ compiler that takes C++20, or no ninja.
        OSError: If the cache cannot be written.
    """
    folder = build_folder('engine', [SOURCE, *HEADERS], FLAGS)
    build(folder, SOURCE, FLAGS)
    library = ctypes.CDLL(str(folder / f'{folder.name}.so'))
    library.engine_new.restype = ctypes.c_void_p
    library.engine_free.argtypes = [ctypes.c_void_p]
    library.engine_sizes.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
    library.engine_run.argtypes = [ctypes.c_void_p, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
    return library


class Network:
    """Layers in the engine, with a copy of their weights.

    Args:
        program (Compiled): The layers.
        tensors (Sequence[Tensor]): Weight and bias of the first convolution, of the second, and so on.
        winograd (bool): Whether 3x3 convolutions may be computed by Winograd's filtering.

    Raises:
        MemoryError: If there is no memory for the weights.
    """

    def __init__(self, program: Compiled, tensors: Sequence[Tensor], winograd: bool) -> None:
        layers = as_array(Layer, program.layers)
        dense = [tensor.contiguous() for tensor in tensors]
        for i, layer in enumerate(layer for layer in layers if layer.kind == CONVOLUTION):
            layer.weight, layer.bias = dense[2 * i].data_ptr(), dense[2 * i + 1].data_ptr()
        buffers = as_array(Buffer, program.buffers)
        self.address = engine().engine_new(buffers, len(buffers), layers, len(layers), winograd)
        if not self.address:
            raise MemoryError('there is no memory for the weights of the accelerated backbone')
        weakref.finalize(self, engine().engine_free, self.address)
        outputs = {layer.tensor: layer.source for layer in layers if layer.kind == OUTPUT}
        self.channels = [outputs[i].channels for i in range(len(outputs))]
        self.buffers = (ctypes.c_int32 * len(outputs))(*(outputs[i].buffer for i in range(len(outputs))))

    def run(self, *inputs: Tensor) -> list[Tensor] | None:
        """The outputs, in the layout of the first input; None if the sizes of the inputs do not fit each other.

        Raises:
            MemoryError: If there is no memory for the features.
        """
        first, count = inputs[0], len(self.buffers)
        described, sizes = as_images(inputs), (ctypes.c_long * (2 * count))()
        if not engine().engine_sizes(self.address, described, self.buffers, count, sizes):
            return None
        layout = torch.contiguous_format if first.is_contiguous() else torch.channels_last
        outs = [torch.empty(len(first), channels, *sizes[2 * i:2 * i + 2], device=first.device, dtype=first.dtype,
                            memory_format=layout) for i, channels in enumerate(self.channels)]
        outcome = engine().engine_run(self.address, len(first), described, as_images(outs), torch.get_num_threads())
        if outcome < 0:
            raise MemoryError(f'there is no memory for the features of images of {tuple(first.shape)}')
        return outs if outcome else None


def as_images(tensors: Any) -> ctypes.Array:
    """Tensors as the engine takes them."""
    return (Images * len(tensors))(*(Images(tensor.data_ptr(), (ctypes.c_long * 2)(*tensor.shape[2:]),
                                            (ctypes.c_long * 4)(*tensor.stride())) for tensor in tensors))


class NativeLayers(nn.Module):
    """Layers that the engine runs in one call, from images of any size and number.

    PyTorch runs them, one by one, where the engine cannot: in other types, on other devices, where gradients are
    needed, where something traces or watches the call, where sizes do not fit, and under ``operators_alone``.

    Args:
        plain (fx.GraphModule): The layers; with noted shapes, and all that the engine has.
        winograd (bool): Whether 3x3 convolutions may be computed by Winograd's filtering. Defaults to True.
    """

    def __init__(self, plain: fx.GraphModule, winograd: bool = True) -> None:
        super().__init__()
        self.plain = plain
        self.winograd = winograd
        self.program = compiled(plain)
        self._tensors_of = attrgetter(*(f'{name}.{tensor}' for name in self.program.convolutions
                                        for tensor in ('weight', 'bias')))
        self._network: tuple[list, Sequence[Tensor], Network] | None = None

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run the layers; each input is (n, c, h, w).

        Raises:
            NotFiniteError: If the weights are not finite.
            MemoryError: If there is no memory for weights or features.
        """
        tensors = self._tensors_of(self.plain)
        outs = self.network(tensors).run(*inputs) if self.can_run(inputs, tensors) else None
        if outs is None:
            return self.plain(*inputs)
        return outs[0] if self.program.single else tuple(outs)

    def can_run(self, inputs: Sequence[Tensor], tensors: Sequence[Tensor]) -> bool:
        """Whether the engine does what PyTorch's operators do with these inputs, weights and biases."""
        everything = (*inputs, *tensors)
        if not is_eager(*everything) or are_operators_alone() or is_cpu_autocast_on() or (
                torch_module._has_any_global_hook()):
            return False
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in everything):
            return False
        return all(tensor.is_cpu and tensor.dtype is torch.float32 for tensor in everything) and not any(
            tensor.is_inference() for tensor in tensors) and all(
            x.dim() == 4 and x.numel() > 0 and len(x) == len(inputs[0]) and x.shape[1] == channels
            for x, channels in zip(inputs, self.program.channels))

    def network(self, tensors: Sequence[Tensor]) -> Network:
        """The engine's copy of the layers, made anew when weights were replaced or written to.

        It is kept with the tensors that it was made of: a new one may lie where one was that is gone.
        """
        state = [(id(tensor), tensor.data_ptr(), tensor._version) for tensor in tensors]
        current = self._network
        if current is None or current[0] != state:
            if not all(map(has_finite_sum, tensors)):
                raise NotFiniteError('weights of a convolution are not finite')
            current = self._network = state, tensors, Network(self.program, tensors, self.winograd)
        return current[2]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_network': None}  # it is at an address of this process


def run_natively(module: fx.GraphModule, winograd: bool = True) -> tuple[fx.GraphModule, int, int]:
    """Give the runs of layers that the engine has to it.

    Args:
        module (fx.GraphModule): A rewritten backbone (``passes.py``), with noted shapes.
        winograd (bool): Whether 3x3 convolutions may be computed by Winograd's filtering. Defaults to True.

    Returns:
        tuple[fx.GraphModule, int, int]: What computes the same; the number of convolutions that the engine runs, and of
        calls of it.

    Raises:
        RuntimeError: If the engine cannot be compiled.
        OSError: If its cache cannot be written.
    """
    engine()
    for node in module.graph.nodes:
        if calls_split(node):  # its parts leave the engine one by one, not as a tuple
            for user in filter(is_part, list(node.users)):
                node.append(user)
    runs: dict[fx.Node, int] = {}
    run, native = 0, False
    for node in module.graph.nodes:
        if node.op not in ('placeholder', 'output', 'get_attr'):
            if is_native(node, module) is not native:
                run, native = run + 1, not native
            runs[node] = run
    whole = split_module(module, module, lambda node: runs[node], keep_original_order=True)
    convolutions = calls = 0
    for name, part in list(whole.named_children()):
        if (isinstance(part, fx.GraphModule) and all(is_native(node, part) for node in part.graph.nodes)
                and any(isinstance(layer, FusedConv) for layer in part.modules())):
            layers = NativeLayers(part, winograd)
            setattr(whole, name, layers)
            convolutions, calls = convolutions + len(layers.program.convolutions), calls + 1
    return whole.eval(), convolutions, calls
