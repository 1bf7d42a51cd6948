"""Forward and backward pass of a block in one piece.

:class:`FusedBlock` keeps the outputs of a block's convolutions alone: all else comes from them in one pass over memory.
Both its passes write where the next operation reads, so that splits, the additions between them and the concatenation
take no pass of their own.
"""
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .context import Call, Needs, Saved, save
from .layers import CHANNELS_LAST, as_feature_map, as_matrix, empty_feature_map
from .norm_kernels import batch_norm, normalise, normalise_backward
from .origin import Origin
from .splits import Splits


class ChannelsLast(torch.autograd.Function):
    """Channels last from here on; the layers before get their gradient in the layout of their output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """The same values, channels last."""
        return x.contiguous(memory_format=CHANNELS_LAST)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """The same gradient, contiguous."""
        return grad.contiguous()


class FusedBlock(torch.autograd.Function):
    """Forward and backward pass of a block.

    Feature maps are in channels last, so that they are also matrices (pixels, channels). The names are those of
    :class:`Bottle2neck`, and z1, z2, z3 and z4 the outputs of its convolutions: the first 1×1, the 3×3, the last 1×1
    and the shortcut's, if there is one.
    """

    @staticmethod
    def forward(ctx: Any, call: Call, x: Tensor, identity: Tensor | None, *parameters: Tensor) -> Tensor:
        """Run the block.

        Args:
            ctx: Autograd's context.
            call (Call): What to do; its origin becomes that of the result.
            x (Tensor): (n, in_channels, h, w), channels last.
            identity (Tensor | None): What the result is added to, of its shape. None: the shortcut of x.
            *parameters (Tensor): Of every convolution, in order: its weight and its norm's weight and bias.

        Returns:
            Tensor: (n, out_channels, h', w'), channels last.
        """
        plan, splits = call.plan, Splits(call.plan)
        last, weights, affine = plan.last, parameters[::3], list(zip(parameters[1::3], parameters[2::3]))
        z1 = plan.convs[0](x, weights[0])
        norms = [batch_norm(call.norms[0], as_matrix(z1), *affine[0])]
        z2, y = [], None
        for i in range(1, last):
            z2.append(plan.convs[i](splits.convolution_input(z1, norms[0], y, i - 1), weights[i]))
            if i == 1:
                y = empty_feature_map(z2[0], plan.scales * plan.width)
            norms.append(batch_norm(call.norms[i], as_matrix(z2[-1]), *affine[i]))
            normalise(as_matrix(z2[-1]), norms[i], splits.part(y, i - 1), relu_last=True)
        splits.pass_last(z1, norms[0], y)
        z3 = plan.convs[last](y, weights[last])
        norms.append(batch_norm(call.norms[last], as_matrix(z3), *affine[last]))

        z4 = []
        if plan.has_shortcut:
            z4 = [plan.convs[-1](plan.shortcut_pool(x) if plan.shortcut_pool else x, weights[-1])]
            norms.append(batch_norm(call.norms[-1], as_matrix(z4[0]), *affine[-1]))
            origin = Origin(None).then(z4[0], norms[-1], False)
        elif identity is None:
            origin = call.origin
        else:
            origin = Origin(identity.contiguous(memory_format=CHANNELS_LAST))
        added = origin.make() if z4 else x if identity is None else origin.base
        out = torch.empty_like(z3)  # no view, so that it may be changed in place
        normalise(as_matrix(z3), norms[last], as_matrix(out), addend=as_matrix(added), relu_last=plan.last_relu)

        if any(ctx.needs_input_grad):
            save(ctx, call, origin.base if identity is not None else None, [z1, *z2, z3, *z4], norms, weights)
            call.origin = origin.then(z3, norms[last], plan.last_relu)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of forward's arguments, of those that need one."""
        ctx.on_backward()
        saved, needs = Saved(ctx), Needs(ctx.plan, ctx.needs_input_grad)
        plan, zs, norms, splits = saved.plan, saved.zs, saved.norms, Splits(saved.plan)
        last, z3 = plan.last, zs[plan.last]
        grads: list[Tensor | None] = [None] * len(zs)
        affine: list[Tensor | None] = [None] * len(zs)

        # relu(norm3(z3) + identity)
        adds_x = saved.identity is None and not plan.has_shortcut
        x = saved.origin.make() if (adds_x and plan.last_relu) or needs.input_of_block() else None
        added = x if adds_x else saved.identity
        if plan.has_shortcut and plan.last_relu:
            added = Origin(None).then(zs[-1], norms[-1], False).make()
        grad = as_matrix(grad.contiguous(memory_format=CHANNELS_LAST))
        grad_z3, affine[last], grad_added = normalise_backward(
            grad, as_matrix(z3), norms[last], relu=plan.last_relu, addend=as_matrix(added) if plan.last_relu else None)
        if not plan.last_relu:
            grad_added = grad.clone()  # it is added to; this one is the caller's
        del grad, added

        grad_z1 = None
        if needs.before(last) or needs.weight(last):  # z3 = conv3(y)
            y = empty_feature_map(z3, plan.scales * plan.width)
            for i in range(1, last):
                normalise(as_matrix(zs[i]), norms[i], splits.part(y, i - 1), relu_last=True)
            splits.pass_last(zs[0], norms[0], y)
            grad_y, grads[last] = plan.convs[last].backward(as_feature_map(grad_z3, z3), y, saved.weights[last],
                                                            (needs.before(last), needs.weight(last)))
            del grad_z3
            if needs.before(last):
                grad_z1 = hierarchy_backward(saved, needs, grad_y, y, grads, affine)
            del y, grad_y

        grad_x = shortcut_backward(saved, needs, grad_added, x, grads, affine)
        if needs.x or needs.weight(0):  # z1 = conv1(x)
            grad_x, grads[0] = plan.convs[0].backward(grad_z1, x, saved.weights[0], (needs.x, needs.weight(0)), grad_x)
        grad_identity = as_feature_map(grad_added, z3) if needs.identity else None
        grad_parameters: list[Tensor | None] = []
        for grad_conv, grad_norm in zip(grads, affine):
            bias, weight = (None, None) if grad_norm is None else grad_norm
            grad_parameters += [grad_conv, weight, bias]
        return None, grad_x, grad_identity, *grad_parameters


def hierarchy_backward(saved: Saved, needs: Needs, grad_y: Tensor, y: Tensor, grads: list[Tensor | None],
                       affine: list[Tensor | None]) -> Tensor | None:
    """The gradient of z1 through y, of which y_i = relu(norm(z_i)) and z_i = conv(u_i + y_{i-1}).

    Args:
        saved (Saved): What the forward pass has left.
        needs (Needs): Which gradients are needed.
        grad_y (Tensor): The gradient of y.
        y (Tensor): All splits, the input of conv3.
        grads (list[Tensor | None]): Gradients of the weights; those of the 3×3 are written.
        affine (list[Tensor | None]): Gradients of the norms' biases and weights; those of z1 and the 3×3 are written.

    Returns:
        Tensor | None: The gradient, if it is needed.
    """
    plan, zs, norms, splits = saved.plan, saved.zs, saved.norms, Splits(saved.plan)
    z1 = zs[0]
    grad_z1, affine1 = torch.empty_like(z1), [None] * plan.scales
    grad_next = None  # the gradient of the next convolution's input, which y_i is part of
    for i in reversed(range(1, plan.last)):
        if not (needs.before(i) or needs.layer(i)):
            continue  # nor does any convolution before it that is part of its input
        grad_z, affine[i], _ = normalise_backward(splits.part(grad_y, i - 1), as_matrix(zs[i]), norms[i], relu=True,
                                                  grad2=grad_next)
        if not (needs.before(i) or needs.weight(i)):
            continue
        u = splits.convolution_input(z1, norms[0], y, i - 1)
        grad_u, grads[i] = plan.convs[i].backward(as_feature_map(grad_z, zs[i]), u, saved.weights[i],
                                                  (needs.before(i), needs.weight(i)))
        if needs.z1:
            affine1[i - 1] = splits.backward(as_matrix(grad_u), z1, norms[0], grad_z1, i - 1)
        grad_next = as_matrix(grad_u) if plan.adds and needs.before(i) else None
    if not needs.z1:
        return None
    if plan.scales > 1:
        affine1[-1] = splits.backward(splits.last_backward(grad_y, z1), z1, norms[0], grad_z1, plan.scales - 1)
    affine[0] = torch.cat(affine1, 1)
    return grad_z1


def shortcut_backward(saved: Saved, needs: Needs, grad: Tensor, x: Tensor | None, grads: list[Tensor | None],
                      affine: list[Tensor | None]) -> Tensor | None:
    """The gradient of x through the shortcut, if there is one that needs it.

    Args:
        saved (Saved): What the forward pass has left.
        needs (Needs): Which gradients are needed.
        grad (Tensor): That of the shortcut's output, (pixels, channels).
        x (Tensor | None): The input of the block, if a gradient needs it.
        grads (list[Tensor | None]): Gradients of the weights; that of the shortcut's convolution is written.
        affine (list[Tensor | None]): Gradients of the norms' biases and weights; those of the shortcut's are written.
    """
    plan = saved.plan
    if not plan.has_shortcut:
        return as_feature_map(grad, x) if needs.x and saved.identity is None else None
    if needs.x or needs.layer(-1):
        grad_z4, affine[-1], _ = normalise_backward(grad, as_matrix(saved.zs[-1]), saved.norms[-1])
    if not (needs.x or needs.weight(-1)):
        return None
    pool = plan.shortcut_pool
    grad_x, grads[-1] = plan.convs[-1].backward(as_feature_map(grad_z4, saved.zs[-1]), pool(x) if pool else x,
                                                saved.weights[-1], (needs.x, needs.weight(-1)))
    return pool.backward(grad_x, x) if pool and needs.x else grad_x
