"""What runs the blocks of an accelerated model: in one piece, where that computes what their layers do."""
from __future__ import annotations

import weakref
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...models.layers.bottle2neck import Bottle2neck
from ..eager import is_eager
from .autograd import ChannelsLast, FusedBlock
from .context import Call
from .kernels import has_kernels
from .layers import CHANNELS_LAST
from .origin import Origin
from .plan import call_can_be_fused, can_be_fused, convs_and_norms, make_plan, parameters_of

MOST_STEPS = 5  # from a tensor that is kept to one that is made from it again


@dataclass(frozen=True)
class Latest:
    """The output of the block that ran last.

    Attributes:
        output (weakref.ref): The tensor.
        version (int): How often it had been changed in place when it was returned.
        origin (Origin): What it can be made from again.
        call (object): A mark of the call that returned it.
    """

    output: weakref.ref
    version: int
    origin: Origin
    call: object


class FusedExecutor:
    """Runs blocks through :class:`FusedBlock`, one call at a time, or else layer by layer.

    All blocks of a model share one, so that a block knows whether its input is, unchanged, what the block before it
    returned, and can be made again. That is all its state: it ends with the output, or with its backward pass, and no
    copy has it.
    """

    def __init__(self) -> None:
        self._latest: Latest | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, or a pickle, is a new executor."""
        return FusedExecutor, ()

    def __call__(self, block: Bottle2neck, x: Tensor, identity: Tensor | None) -> Tensor:
        """Run a block: see ``Bottle2neck.forward``."""
        if not is_eager(x):
            return block.run_layers(x, identity)
        if not can_be_fused(block):
            # Blocks before it leave channels last, and mmcv's deformable convolutions, on a CPU, read every tensor as
            # if it were contiguous.
            return block.run_layers(x.contiguous() if torch.is_grad_enabled() else x, identity)
        if not call_can_be_fused(block, x, identity) or not has_kernels():
            return block.run_layers(x, identity)
        return self._run_fused(block, x, identity)

    def _run_fused(self, block: Bottle2neck, x: Tensor, identity: Tensor | None) -> Tensor:
        keeps = not is_saving_hooked(x)
        origin = self._find_origin(x) if keeps else None
        if not x.is_contiguous(memory_format=CHANNELS_LAST):
            x = ChannelsLast.apply(x)
        if identity is None and block.downsample is not None and len(block.downsample) == 1:
            identity = block.downsample(x)  # pools only
        convs, norms = convs_and_norms(block, identity is None)
        mark = object()
        call = Call(make_plan(block, identity is None), norms, origin or Origin(x), partial(self._forget, mark))
        out = FusedBlock.apply(call, x, identity, *parameters_of(convs, norms))
        self._latest = None
        if keeps and out.requires_grad:
            self._latest = Latest(weakref.ref(out, forget_later(self, mark)), out._version, call.origin, mark)
        return out

    def _find_origin(self, x: Tensor) -> Origin | None:
        """What x can be made from again, if it is what the latest block returned, and near enough to what is kept."""
        latest, version = self._latest, x._version
        if latest is not None and latest.version == version and latest.output() is x:
            return latest.origin if len(latest.origin.steps) <= MOST_STEPS else None
        return None

    def _forget(self, call: object) -> None:
        """Let go of what the output of a call can be made from, if it is the latest."""
        latest = self._latest
        if latest is not None and latest.call is call:
            self._latest = None


def forget_later(executor: FusedExecutor, call: object) -> Any:
    """What a weak reference to an output calls when that is gone; it keeps no executor alive."""
    reference = weakref.ref(executor)

    def forget(output: weakref.ref) -> None:
        executor = reference()
        if executor is not None:
            executor._forget(call)

    return forget


def is_saving_hooked(x: Tensor) -> bool:
    """Whether hooks see the tensors that autograd saves, as those of checkpoints do.

    A checkpoint runs its layers a second time and expects that they save the same tensors as before, while the block
    before them does not run again; and it drops what an origin would keep.
    """
    probe = x.detach().new_empty(0).requires_grad_().exp()
    try:
        probe.grad_fn._raw_saved_result.register_hooks(lambda saved: saved, lambda saved: saved)
    except RuntimeError:  # it has hooks already
        return True
    return False
