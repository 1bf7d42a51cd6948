"""What goes from a block's forward pass to its backward pass."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Sequence

from torch import Tensor
from torch.nn.modules.batchnorm import BatchNorm2d

from .norm_kernels import Norm, uses_batch_statistics
from .origin import Origin
from .plan import Plan


@dataclass
class Call:
    """A call of a block.

    Attributes:
        plan (Plan): What is computed.
        norms (list[BatchNorm2d]): The norms, in the order of the plan's convolutions.
        origin (Origin): That of the input; of the output, once that is there and if it needs a gradient.
        on_backward (Callable): Called when the backward pass begins.
    """

    plan: Plan
    norms: list[BatchNorm2d]
    origin: Origin
    on_backward: Callable[[], None]


def save(ctx: Any, call: Call, identity: Tensor | None, zs: Sequence[Tensor], norms: Sequence[Norm],
         weights: Sequence[Tensor]) -> None:
    """Save what the backward pass needs: all tensors where autograd frees them, and asks whether they were changed.

    Args:
        ctx: Autograd's context.
        call (Call): The call.
        identity (Tensor | None): What was added, if it was given to the block.
        zs (Sequence[Tensor]): Outputs of the convolutions.
        norms (Sequence[Norm]): What the norms did.
        weights (Sequence[Tensor]): Weights of the convolutions.
    """
    ctx.plan, ctx.form, ctx.on_backward = call.plan, call.origin.form, call.on_backward
    ctx.statistics = [norm.statistics for norm in norms]
    ctx.save_for_backward(*zs, *weights, *(norm.vectors for norm in norms), identity, *saved_by_pytorch(call.norms),
                          *call.origin.tensors)


def saved_by_pytorch(norms: Sequence[BatchNorm2d]) -> list[Tensor]:
    """What PyTorch's norms save of themselves: their weights and, unless they take the batch's, their statistics.

    A :class:`Norm` is made of copies; but a step that fails in PyTorch because one of these was changed meanwhile is to
    fail here, too.
    """
    return [tensor for bn in norms for tensor in (
        bn.weight, *(() if uses_batch_statistics(bn) else (bn.running_mean, bn.running_var)))]


class Saved:
    """What ``save`` has saved.

    Args:
        ctx: Autograd's context.

    Attributes:
        plan (Plan): What was computed.
        origin (Origin): That of the input.
        identity (Tensor | None): What was added, if it was given to the block.
        zs (Sequence[Tensor]): Outputs of the convolutions.
        norms (list[Norm]): What the norms did.
        weights (Sequence[Tensor]): Weights of the convolutions.
    """

    def __init__(self, ctx: Any) -> None:
        tensors, count = ctx.saved_tensors, len(ctx.plan.convs)
        self.plan = ctx.plan
        self.zs, self.weights, vectors = (tensors[i * count:(i + 1) * count] for i in range(3))
        self.norms = [Norm(*of_norm) for of_norm in zip(vectors, ctx.statistics)]
        self.identity = tensors[3 * count]
        self.origin = Origin.restore(ctx.form, tensors[len(tensors) - 2 * len(ctx.form) - 1:])


class Needs:
    """Which gradients of a call are needed.

    Args:
        plan (Plan): What was computed.
        needs (Sequence[bool]): Autograd's answer for every argument of ``FusedBlock.forward``.

    Attributes:
        x (bool): Whether that of the input is.
        identity (bool): Whether that of the given identity is.
        z1 (bool): Whether that of conv1's output is.
    """

    def __init__(self, plan: Plan, needs: Sequence[bool]) -> None:
        self._plan = plan
        _, self.x, self.identity, *parameters = needs
        self._layers = [parameters[i:i + 3] for i in range(0, len(parameters), 3)]
        self.z1 = self.x or self.layer(0)

    def weight(self, i: int) -> bool:
        """Whether the gradient of convolution i's weight is needed."""
        return self._layers[i][0]

    def layer(self, i: int) -> bool:
        """Whether a gradient of convolution i or of its norm is needed."""
        return any(self._layers[i])

    def before(self, i: int) -> bool:
        """Whether the gradient of the input of a 3×3 convolution, or of conv3, is needed."""
        inputs = range(1, i) if i == self._plan.last or self._plan.adds else ()
        return self.z1 or any(map(self.layer, inputs))

    def input_of_block(self) -> bool:
        """Whether a gradient is needed that the input itself is needed for."""
        return self.x or self.weight(0) or (self._plan.has_shortcut and self.weight(-1))
