"""How a module is called: on plain tensors at once, or by something that traces, transforms or watches the call.

Code that stands for a module's layers without calling them, such as kernels that read memory, may do so only for calls
of the first kind.
"""
from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules import module as torch_module
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext

from ..models.tracing import has_own_hooks

try:
    from torch.compiler import is_compiling
except ImportError:  # an older PyTorch
    from torch._dynamo.external_utils import is_compiling

PLAIN_TENSORS = (Tensor, nn.Parameter)


def is_eager(*tensors: Tensor) -> bool:
    """Whether a call computes on plain tensors at once.

    It does not while ``torch.compile``, ``torch.export`` or ``torch.jit.trace`` records it, under a transform of
    ``torch.func`` or forward-mode AD, under a mode that sees every operator (FakeTensorMode, FlopCounterMode), and for
    subclasses of tensors (DTensor, a proxy of ``torch.fx``) and layouts that are not strided.

    Args:
        *tensors (Tensor): All that the call computes with.
    """
    if is_compiling() or torch.jit.is_tracing():  # first: torch.compile reads no further
        return False
    return (torch._C._functorch.peek_interpreter_stack() is None and torch._C._len_torch_dispatch_stack() == 0
            and all(type(mode) is DeviceContext for mode in _get_current_function_mode_stack())
            and forward_ad._current_level < 0
            and all(type(tensor) in PLAIN_TENSORS and tensor.layout is torch.strided for tensor in tensors))


def is_cpu_autocast_on() -> bool:
    """Whether autocast is on for the CPU; PyTorch 2.4 gave the question another name."""
    try:
        return torch.is_autocast_enabled('cpu')
    except TypeError:
        return torch.is_autocast_cpu_enabled()


def has_hooks(module: nn.Module) -> bool:
    """Whether a call of a module runs hooks, its own or those of all modules: forward, backward, before or after."""
    return has_own_hooks(module) or torch_module._has_any_global_hook()
