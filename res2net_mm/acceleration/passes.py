"""A backbone's graph (``torch.fx``), rewritten for inference.

Most of what Res2Net takes longer than ResNet is not arithmetic but passes over memory between the convolutions. So
three steps follow for every convolution:

1. a batch norm that follows it is folded into its weights;
2. an addition that follows takes place while its output is written;
3. so does a ReLU.

What is left are convolutions with such an epilogue, :class:`~.graph.FusedConv`, and the layers that could not be fused.
Nothing here knows a trunk: every backbone of the package is rewritten alike, its baselines too.
"""
from __future__ import annotations

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .graph import FusedConv, Tracer, called_module, is_addition, only_user


def rewrite(module: nn.Module) -> fx.GraphModule:
    """Take the graph of a module and fuse what can be fused.

    Args:
        module (nn.Module): One of this package's backbones, or its shared head, in eval mode. Its layers are used up.

    Returns:
        fx.GraphModule: What computes the same function, in eval mode, without gradients of its weights.
    """
    with torch.no_grad():  # nothing is recomputed where there is no backward pass
        graph = Tracer().trace(module)
    fast = fx.GraphModule(module, graph, f'Fast{type(module).__name__}')
    for graph_pass in PASSES:
        graph_pass(fast)
    fast.delete_all_unused_submodules()
    fast.recompile()
    fast.out_channels = module.out_channels  # what toolboxes ask of a module
    return fast.eval().requires_grad_(False)


def drop_identities(module: fx.GraphModule) -> None:
    """Remove layers that are there for some variants only, such as the SE of a block without one."""
    for node in list(module.graph.nodes):
        if type(called_module(node, module)) is nn.Identity:
            node.replace_all_uses_with(node.args[0])
            module.graph.erase_node(node)


def fold_batch_norms(module: fx.GraphModule) -> None:
    """Make every convolution a FusedConv, with the batch norm that follows it."""
    for node in list(module.graph.nodes):
        conv = called_module(node, module)
        if conv is None or type(conv) is not nn.Conv2d or conv.padding_mode != 'zeros' or isinstance(conv.padding, str):
            continue
        fused = FusedConv(conv)
        following = only_user(node)
        bn = called_module(following, module)
        if following is not None and isinstance(bn, _BatchNorm) and bn.track_running_stats:
            fused.fold(bn)
            following.replace_all_uses_with(node)
            module.graph.erase_node(following)
        module.add_submodule(node.target, fused)


def fuse_additions(module: fx.GraphModule) -> None:
    """Replace conv(x) + y by conv(x, y), where y is known before."""
    order = {node: i for i, node in enumerate(module.graph.nodes)}
    for node in list(module.graph.nodes):
        if not is_addition(node):
            continue
        first, last = sorted(node.args, key=lambda arg: order.get(arg, -1))
        conv = called_module(last, module)
        if not (isinstance(first, fx.Node) and isinstance(conv, FusedConv) and list(last.users) == [node]
                and len(last.args) == 1):
            continue
        last.args = (*last.args, first)
        node.replace_all_uses_with(last)
        module.graph.erase_node(node)


def fuse_relus(module: fx.GraphModule) -> None:
    """Replace relu(conv(x)) by conv(x) with a ReLU."""
    for node in list(module.graph.nodes):
        conv, following = called_module(node, module), only_user(node)
        if (isinstance(conv, FusedConv) and following is not None
                and type(called_module(following, module)) is nn.ReLU):
            conv.relu = True
            following.replace_all_uses_with(node)
            module.graph.erase_node(following)


def overwrite_addends(module: fx.GraphModule) -> None:
    """Let an addition use up its addend where nothing needs it later: a convolution's output."""
    order = {node: i for i, node in enumerate(module.graph.nodes)}
    for node in module.graph.nodes:
        conv = called_module(node, module)
        if isinstance(conv, FusedConv) and len(node.args) == 2:
            addend = node.args[1]
            conv.overwrites_addend = isinstance(called_module(addend, module), FusedConv) and all(
                isinstance(called_module(user, module), FusedConv) and order[user] <= order[node]
                for user in addend.users)


def restore_memory_format(module: fx.GraphModule) -> None:
    """Give outputs, and inputs of toolboxes' layers, the images' memory format; oneDNN changes it."""
    graph = module.graph
    images = next(node for node in graph.nodes if node.op == 'placeholder')
    for node in list(graph.nodes):
        layer = type(called_module(node, module)).__module__
        if node.op == 'output' or (node.op == 'call_module' and not layer.startswith(('torch.', 'res2net_mm.'))):
            with graph.inserting_before(node):
                node.args = fx.map_arg(node.args, lambda x: graph.call_function(match_memory_format, (x, images)))


def match_memory_format(x: Tensor, images: Tensor) -> Tensor:
    """A feature map, contiguous if the images are.

    mmcv's RoIAlign and deformable convolutions, on a CPU, read every tensor as if it were.
    """
    return x.contiguous() if images.is_contiguous() else x


PASSES = (  # in this order: additions and ReLUs are fused into the convolutions that the second pass makes
    drop_identities,
    fold_batch_norms,
    fuse_additions,
    fuse_relus,
    overwrite_addends,
    restore_memory_format,
)
