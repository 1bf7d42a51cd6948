"""A backbone's graph (``torch.fx``), rewritten for inference.

Most of what Res2Net takes longer than ResNet is not arithmetic but passes over memory between the convolutions. So
three steps follow for every convolution:

1. a batch norm that follows it is folded into its weights;
2. an addition that follows takes place while its output is written;
3. so does a ReLU.

What is left are convolutions with such an epilogue, :class:`FusedConv`, and the layers that could not be fused. Nothing
here knows a trunk: every backbone of the package is rewritten alike, its baselines too.
"""
import operator

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .graph import FusedConv, Tracer, called, only_user


def rewrite(module):
    """Take the graph of a module in eval mode and fuse what can be fused. The module's layers are used up."""
    with torch.no_grad():  # nothing is recomputed where there is no backward pass
        graph = Tracer().trace(module)
    fast = fx.GraphModule(module, graph, f'Fast{type(module).__name__}')
    for step in (drop_identities, fold_batch_norms, fuse_additions, fuse_relus, overwrite_addends, keep_layout):
        step(fast)
    fast.delete_all_unused_submodules()
    fast.recompile()
    fast.out_channels = module.out_channels  # what toolboxes ask of a module
    return fast.eval().requires_grad_(False)


def drop_identities(module):
    """Layers that are there for some variants only, such as the SE of a block without one."""
    for node in list(module.graph.nodes):
        if type(called(node, module)) is nn.Identity:
            node.replace_all_uses_with(node.args[0])
            module.graph.erase_node(node)


def fold_batch_norms(module):
    """Every convolution becomes a FusedConv, with the batch norm that follows it."""
    for node in list(module.graph.nodes):
        conv = called(node, module)
        if type(conv) is not nn.Conv2d or conv.padding_mode != 'zeros' or isinstance(conv.padding, str):
            continue
        fused = FusedConv(conv)
        following = only_user(node)
        bn = called(following, module)
        if isinstance(bn, _BatchNorm) and bn.track_running_stats:
            fused.fold(bn)
            following.replace_all_uses_with(node)
            module.graph.erase_node(following)
        module.add_submodule(node.target, fused)


def fuse_additions(module):
    """conv(x) + y becomes conv(x, y), where y is known before."""
    order = {node: i for i, node in enumerate(module.graph.nodes)}
    for node in list(module.graph.nodes):
        if node.op != 'call_function' or node.target not in (operator.add, operator.iadd, torch.add) or node.kwargs:
            continue
        first, last = sorted(node.args, key=lambda arg: order.get(arg, -1))
        conv = called(last, module)
        if not (isinstance(first, fx.Node) and isinstance(conv, FusedConv) and only_user(last) is node
                and len(last.args) == 1):
            continue
        last.args = (*last.args, first)
        node.replace_all_uses_with(last)
        module.graph.erase_node(node)


def fuse_relus(module):
    """relu(conv(x)) becomes conv(x) with a ReLU."""
    for node in list(module.graph.nodes):
        conv, following = called(node, module), only_user(node)
        if isinstance(conv, FusedConv) and type(called(following, module)) is nn.ReLU:
            conv.relu = True
            following.replace_all_uses_with(node)
            module.graph.erase_node(following)


def overwrite_addends(module):
    """An addition may use up its addend: the output of a convolution that only convolutions before it need."""
    order = {node: i for i, node in enumerate(module.graph.nodes)}
    for node in module.graph.nodes:
        conv = called(node, module)
        if isinstance(conv, FusedConv) and len(node.args) == 2:
            addend = node.args[1]
            conv.overwrites_addend = isinstance(called(addend, module), FusedConv) and all(
                isinstance(called(user, module), FusedConv) and order[user] <= order[node] for user in addend.users)


def keep_layout(module):
    """oneDNN leaves the channels of a pixel together; outputs, and what others' layers get, have the input's layout."""
    graph = module.graph
    images = next(node for node in graph.nodes if node.op == 'placeholder')
    for node in list(graph.nodes):
        layer = type(called(node, module)).__module__
        if node.op == 'output' or (node.op == 'call_module' and not layer.startswith(('torch.', 'res2net_mm.'))):
            with graph.inserting_before(node):
                node.args = fx.map_arg(node.args, lambda x: graph.call_function(in_layout_of, (images, x)))


def in_layout_of(images, out):
    """mmcv's RoIAlign and deformable convolutions, on a CPU, read every tensor as if it were contiguous."""
    return out.contiguous() if images.is_contiguous() else out
