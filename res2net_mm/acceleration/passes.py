"""A backbone's graph (``torch.fx``), rewritten for inference.

Most of what Res2Net takes longer than ResNet is not arithmetic but passes over memory between the convolutions. So a
convolution takes in what follows it: a batch norm, folded into its weights; an addition, which takes place while its
output is written; and a ReLU. What is left are convolutions with such an epilogue, :class:`~.fused_conv.FusedConv`, and
the layers that are not known to be safe to fuse. Nothing here knows a trunk: every backbone of the package is rewritten
alike, its baselines too.
"""
from __future__ import annotations

import operator
from collections import Counter

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from .fused_conv import FusedConv
from .graph import (
    called_module,
    is_addition,
    is_untouched,
    note_shapes,
    noted,
    nothing_changes_between,
    only_user,
    plain_layer,
    trace,
    whole,
)


def rewrite(module: nn.Module, images: Tensor) -> tuple[fx.GraphModule, str]:
    """Take the graph of a module and fuse what can be fused.

    Args:
        module (nn.Module): One of this package's backbones, or its shared head, in eval mode; it stays as it is.
        images (Tensor): (n, c, h, w), an input that it takes, of more than one image and of unusual size, so that
            shapes that can differ do.

    Returns:
        tuple[fx.GraphModule, str]: What computes the same function, in eval mode; it shares the layers that were not
        fused. And what was fused, and what was not, as a sentence.

    Raises:
        ValueError: If the module is not a graph of layers.
    """
    with torch.no_grad():  # nothing is recomputed where there is no backward pass
        fast = trace(module)
    drop_identities(fast)
    note_shapes(fast, images)
    taken_in = fuse_convolutions(fast)
    restore_memory_format(fast)
    fast.delete_all_unused_submodules()
    fast.recompile()
    return fast.eval(), describe(taken_in, fast)


def drop_identities(module: fx.GraphModule) -> None:
    """Remove layers that are there for some variants only, such as the SE of a block without one."""
    for node in list(module.graph.nodes):
        if plain_layer(node, module, nn.Identity) is not None:
            node.replace_all_uses_with(node.args[0])
            module.graph.erase_node(node)


def fuse_convolutions(module: fx.GraphModule) -> dict[str, int]:
    """Replace every convolution, with what it can take in of what follows it, by a FusedConv of its own.

    A layer that is called several times is fused once for each call.

    Returns:
        dict[str, int]: How many convolutions there are now, and what they took in.
    """
    taken_in = dict.fromkeys(('convolutions', 'batch norms', 'additions', 'ReLUs'), 0)
    order = {node: i for i, node in enumerate(module.graph.nodes)}
    for node in list(module.graph.nodes):
        conv = plain_layer(node, module, nn.Conv2d)
        if conv is None or conv.padding_mode != 'zeros' or isinstance(conv.padding, str):
            continue
        chain, addend = [node], None  # the convolution, and of its followers those that it takes in
        following = only_user(node)
        norm = usable_norm(following, module)
        if norm is not None:
            chain.append(following)
        following = only_user(chain[-1])
        if following is not None and is_addition_to(chain[-1], following):
            other, = (arg for arg in following.args if arg is not chain[-1])
            if (noted(other) == noted(chain[-1]) and order[other] < order[node]
                    and nothing_changes_between(node, following, module)):
                chain.append(following)
                addend = other
        following = only_user(chain[-1])
        relu = plain_layer(following, module, nn.ReLU) is not None
        if relu:
            chain.append(following)

        name = unused_name(module, f'{node.target}_fused')
        module.add_submodule(name, FusedConv(conv, norm, relu))
        with module.graph.inserting_before(node):
            fused = module.graph.call_module(name, node.args if addend is None else (*node.args, addend))
        fused.meta, order[fused] = dict(chain[-1].meta), order[node]
        chain[-1].replace_all_uses_with(fused)
        for gone in reversed(chain):
            module.graph.erase_node(gone)
        for kind, there in zip(taken_in, (True, norm is not None, addend is not None, relu)):
            taken_in[kind] += there
    return taken_in


def describe(taken_in: dict[str, int], module: fx.GraphModule) -> str:
    """What convolutions took in, and which layers with convolutions or batch norms are as they were."""
    called = [module.get_submodule(node.target) for node in module.graph.nodes if node.op == 'call_module']
    left = Counter(type(layer).__name__ + ('' if is_untouched(layer) else ' with hooks') for layer in called
                   if not isinstance(layer, FusedConv)
                   and any(isinstance(part, (_BatchNorm, _ConvNd)) for part in layer.modules()))
    convolutions, *others = (f'{count} {kind}' for kind, count in taken_in.items())
    names = ', '.join(f'{count} {name}' for name, count in left.items()) or 'none'
    return f'{convolutions} take in {", ".join(others)}; other layers with convolutions or batch norms: {names}'


def usable_norm(node: fx.Node | None, module: fx.GraphModule) -> _BatchNorm | None:
    """The batch norm that a node calls, if it is one that uses running statistics."""
    norm = plain_layer(node, module, nn.BatchNorm2d, nn.SyncBatchNorm)
    return norm if norm is not None and not norm.training and norm.running_var is not None else None


def is_addition_to(node: fx.Node, user: fx.Node) -> bool:
    """Whether the only user of a tensor adds another one to it."""
    in_place = user.op == 'call_function' and user.target is operator.iadd and user.args[0] is node
    return (is_addition(user) or in_place) and all(isinstance(arg, fx.Node) for arg in user.args) and (
        user.args[0] is not user.args[1])


def unused_name(module: fx.GraphModule, name: str) -> str:
    """A name that no module has: this one, or with a number behind it."""
    taken = {name for name, _ in module.named_modules(remove_duplicate=False)}
    return next(unused for unused in (name, *(f'{name}{i}' for i in range(len(taken)))) if unused not in taken)


def overwrite_addends(module: fx.GraphModule) -> None:
    """Let an addition use up its addend where nothing needs it later: a convolution's output.

    That is so if only convolutions use it, none later, and the one that adds it does not also read it as its input.
    """
    order = {node: i for i, node in enumerate(module.graph.nodes)}
    for node in module.graph.nodes:
        if not isinstance(called_module(node, module), FusedConv) or len(node.args) < 2:
            continue
        x, addend = node.args
        if addend is not x and isinstance(called_module(addend, module), FusedConv) and all(
                isinstance(called_module(user, module), FusedConv) and order[user] <= order[node]
                for user in addend.users):
            node.kwargs = dict(overwrite=True)
    module.recompile()


def restore_memory_format(module: fx.GraphModule) -> None:
    """Give outputs, and inputs of toolboxes' layers, the images' memory format; oneDNN changes it."""
    graph = module.graph
    images = next(node for node in graph.nodes if node.op == 'placeholder')
    for node in list(graph.nodes):
        layer = type(called_module(node, module)).__module__
        if node.op == 'output' or (node.op == 'call_module' and not layer.startswith(('torch.', 'res2net_mm.'))):
            with graph.inserting_before(node):
                node.args = fx.map_arg(node.args, lambda x: graph.call_function(match_memory_format, (x, images)))


@whole
def match_memory_format(x: Tensor, images: Tensor) -> Tensor:
    """A feature map, contiguous if the images are.

    mmcv's RoIAlign and deformable convolutions, on a CPU, read every tensor as if it were.
    """
    return x.contiguous() if isinstance(x, Tensor) and images.is_contiguous() else x
