"""Copies of models for faster inference: ``accelerate``, and what can run the backbones.

PyTorch runs a rewritten backbone (``passes.py``), or this package's own engine does on a CPU (``native/``), or the
kernel of ``triton/kernel.py`` on a GPU; ONNX Runtime and OpenVINO run it in one piece (``exported.py``). 'auto' takes
the fastest of those that need no other package.
"""
from __future__ import annotations

import copy
import logging
from functools import lru_cache, partial
from typing import Callable

import torch
from mmengine.logging import print_log
from torch import Tensor, fx, nn

from ..models.backbones.base import Backbone
from ..models.heads.res2_shared_head import Res2SharedHead
from .accelerated import AcceleratedBackbone
from .check import check_same_function, example_images
from .exported import OnnxRuntime, OpenVino
from .graph import is_untouched
from .passes import overwrite_addends, rewrite
from .training.accelerate import remove_training_acceleration


def accelerate(model: nn.Module, backend: str = 'auto', check: bool = True) -> nn.Module:
    """Make a model faster for inference.

    What was done to the layers of each backbone, and what was left as it was, is logged, and is its attribute
    ``report``.

    Args:
        model (nn.Module): One of our backbones, or a model with some in it: a detector, a segmentor, ... Its weights
            are loaded already, and it is where it will run.
        backend (str): What runs the backbones: 'auto', 'pytorch', 'native', 'native-direct', 'onnxruntime', 'openvino'
            or 'triton'; the package of the name must be installed. 'native' is the engine of this package, which is
            compiled when it is first used: for float32 on the CPU, and PyTorch runs what it has no layer for.
            'native-direct' is the engine without Winograd's filtering, a little slower: every pixel is computed of its
            own neighbours alone. 'auto' is 'native' in float32 on a CPU, and 'pytorch' elsewhere, or if the engine
            cannot be compiled. ONNX Runtime and OpenVINO are for float32 on the CPU and give no gradients, Triton is
            for NVIDIA GPUs. Layers with hooks stay as they are with 'pytorch' and 'native'; the last three refuse
            them. Defaults to 'auto'.
        check (bool): Run each backbone and its original once on random images, and compare. Defaults to True.

    Returns:
        nn.Module: A copy in eval mode that computes the same function, up to rounding. Its backbones have no batch
        norms and other keys, so that they can neither be trained nor loaded with checkpoints of the original. The
        original is as it was.

    Raises:
        ValueError: If there is no backbone of this package in the model, or no such backend, or the backend cannot run
            the backbone.
        ModuleNotFoundError: If the backend's package is not installed.
        RuntimeError: If the copy does not compute the same on the random images, or the engine cannot be compiled.
        OSError: If there is no place for what is compiled.
    """
    if backend not in BACKENDS:
        raise ValueError(f'accelerate: backend={backend!r} must be one of {", ".join(BACKENDS)}')
    with torch.inference_mode(False), torch.no_grad():  # tensors that may be used in any mode
        model = remove_training_acceleration(copy.deepcopy(model)).eval()
        # A name and a module; a module may have several names, and one backbone may be a part of another.
        found: list[tuple[str, nn.Module]] = []
        for name, module in model.named_modules(remove_duplicate=False):
            inside = any(not outer or name.startswith(f'{outer}.') for outer, _ in found)
            if isinstance(module, (Backbone, Res2SharedHead)) and not inside:
                found.append((name, module))
        if not found:
            again = any(isinstance(module, AcceleratedBackbone) for module in model.modules())
            raise ValueError(f'accelerate: {type(model).__name__} '
                             f'{"is accelerated already" if again else "has no backbone of res2net_mm in it"}')
        fast = {module: accelerate_backbone(module, backend, check) for _, module in found}
    for name, module in found:
        if not name:
            return fast[module]
        parent, _, child = name.rpartition('.')
        setattr(model.get_submodule(parent), child, fast[module])
    return model


def accelerate_backbone(backbone: nn.Module, backend: str, check: bool) -> AcceleratedBackbone:
    """One backbone, in eval mode, which is used up, for a backend; raises what ``accelerate`` does."""
    try:
        images = example_images(backbone)
        runner, report = BACKENDS[backend](backbone.requires_grad_(False), images)
        fast = AcceleratedBackbone(backbone, runner, report)
        if check:
            check_same_function(fast.forward, backbone, images)
    except (ValueError, RuntimeError) as error:
        kind = ValueError if isinstance(error, ValueError) else RuntimeError
        raise kind(f'accelerate: {type(backbone).__name__} with {backend}: {error}') from error
    print_log(f'accelerate: {type(backbone).__name__} with {backend}: {report}', logger='current', level=logging.INFO)
    return fast


def run_by_fastest(backbone: nn.Module, images: Tensor) -> tuple[nn.Module, str]:
    """A rewritten backbone that the engine runs if it can, and PyTorch otherwise."""
    if images.is_cpu and images.dtype is torch.float32:
        from .native.module import engine
        try:
            engine()
        except (RuntimeError, OSError) as error:
            reason = str(error).partition('\n')[0]
            say_once(f'accelerate: PyTorch runs the backbones, because there is no engine: {reason}')
        else:
            return run_by_native(backbone, images)
    return run_by_pytorch(backbone, images)


@lru_cache(maxsize=None)
def say_once(message: str) -> None:
    """Log something that would be the same for every backbone."""
    print_log(message, logger='current', level=logging.WARNING)


def run_by_pytorch(backbone: nn.Module, images: Tensor) -> tuple[fx.GraphModule, str]:
    """A rewritten backbone."""
    fast, report = rewrite(backbone, images)
    overwrite_addends(fast)
    return fast, report


def run_by_native(backbone: nn.Module, images: Tensor, winograd: bool = True) -> tuple[nn.Module, str]:
    """A rewritten backbone that this package's own engine runs, on a CPU."""
    from .native.module import run_natively
    fast, _ = run_by_pytorch(backbone, images)
    fast, convolutions, calls = run_natively(fast, winograd)
    return fast, f'the engine runs {convolutions} convolutions in {calls} calls, PyTorch what is between them'


def run_by_triton(backbone: nn.Module, images: Tensor) -> tuple[nn.Module, str]:
    """A rewritten backbone whose convolutions Triton's kernel runs, on an NVIDIA GPU."""
    from .triton.module import TritonBackbone
    refuse_hooks(backbone)
    fast, report = rewrite(backbone, images)
    return TritonBackbone(fast, images), report


def run_by_onnxruntime(backbone: nn.Module, images: Tensor) -> tuple[nn.Module, str]:
    """A backbone in ONNX Runtime."""
    refuse_hooks(backbone)
    return OnnxRuntime(backbone, images), 'ONNX Runtime runs it in one piece'


def run_by_openvino(backbone: nn.Module, images: Tensor) -> tuple[nn.Module, str]:
    """A backbone in OpenVINO."""
    refuse_hooks(backbone)
    return OpenVino(backbone, images), 'OpenVINO runs it in one piece'


def refuse_hooks(backbone: nn.Module) -> None:
    """Raise a ValueError if layers have hooks, which nothing would call."""
    names = [name for name, module in backbone.named_modules() if name and not is_untouched(module)]
    if names:
        raise ValueError(f'{len(names)} layers have hooks, which would not be called: {", ".join(names[:5])}')


# Each takes a backbone in eval mode, and images to try it on, to a module that runs it, and what is to be said of that.
BACKENDS: dict[str, Callable[[nn.Module, Tensor], tuple[nn.Module, str]]] = {
    'auto': run_by_fastest, 'pytorch': run_by_pytorch, 'native': run_by_native,
    'native-direct': partial(run_by_native, winograd=False), 'onnxruntime': run_by_onnxruntime,
    'openvino': run_by_openvino, 'triton': run_by_triton}

CPU_BACKENDS = ('native', 'native-direct', 'onnxruntime', 'openvino')  # these run float32 on a CPU, and nothing else
