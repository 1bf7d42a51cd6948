"""Four more passes over a rewritten backbone's graph, which use what the kernel can do.

1. an addition before a convolution takes place while its input is read;
2. parts of the channels, such as the splits of a Res2Net block, begin at multiples of 8, with zeros in between;
3. convolutions become calls of the kernel;
4. a concatenation becomes a tensor into whose channels its parts are written at once.

Convolutions with groups, those of images, and layers of other kinds are run by PyTorch.
"""
import operator

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp, TensorMetadata

from ..graph import FusedConv, called, only_user
from .kernel import KernelConv, empty_after, fits, geometry

MULTIPLE = 8  # channels; in 16 bits these are 16 bytes, the most that a thread reads at a time


def use_kernels(module):
    """All passes, one after the other."""
    for step in (find_shapes, align_channels, find_shapes, fuse_sums, join_in_place, replace_convolutions):
        step(module)
    module.recompile()


def find_shapes(module):
    """Note the shape of every tensor, for a small image."""
    weight = next(conv for conv in module.modules() if isinstance(conv, FusedConv)).weight
    with torch.no_grad():
        ShapeProp(module).propagate(weight.new_zeros(1, weight.shape[1], 64, 64))


def shape(node):
    """The shape of a feature; () of anything else."""
    found = node.meta.get('tensor_meta')
    return found.shape if isinstance(found, TensorMetadata) and len(found.shape) == 4 else ()


def is_addition(node):
    return node.op == 'call_function' and node.target in (operator.add, operator.iadd, torch.add) and not node.kwargs


def is_concatenation(node):
    return node.op == 'call_function' and node.target is torch.cat and (*node.args, *node.kwargs.values())[1] == 1


def is_split(node):
    return (isinstance(node, fx.Node) and node.op == 'call_method' and node.target == 'split'
            and node.kwargs == dict(dim=1) and isinstance(node.args[1], int))


def align_channels(module):
    """Parts of channels begin at multiples of 8, with zeros in between: a layout says of each channel if it is real."""
    layouts = {}

    def layout(node):
        return layouts.get(node, (True, ) * sum(shape(node)[1:2]))

    for node in list(module.graph.nodes):
        conv, inputs = called(node, module), node.all_input_nodes
        if node in layouts or not inputs:
            continue
        if fits(conv):
            layouts[node] = layout(node.args[1]) if len(node.args) == 2 else filled_up(node)
            widen(conv, layout(node.args[0]), layouts[node])
        elif is_split(node) and pieces(layout(inputs[0]), node.args[1]):
            parts = pieces(layout(inputs[0]), node.args[1])
            node.args = inputs[0], len(parts[0])
            layouts.update({user: parts[user.args[1]] for user in node.users})
        elif keeps_zeros(conv, node) and len({layout(source) for source in inputs}) == 1:
            layouts[node] = layout(inputs[0])
        elif is_concatenation(node):
            layouts[node] = sum(map(layout, node.args[0]), ())
        else:
            for source in inputs:
                if not all(layout(source)):
                    with module.graph.inserting_before(node):
                        real = module.graph.call_function(real_channels, (source, runs(layout(source))))
                    node.replace_input_with(source, real)


def keeps_zeros(layer, node):
    return isinstance(layer, (nn.AvgPool2d, nn.MaxPool2d)) or is_addition(node)


def filled_up(node):
    """The layout of what a convolution returns: each part that it is split into is filled up, or the whole."""
    channels, user = shape(node)[1], only_user(node)
    size = user.args[1] if is_split(user) and channels % user.args[1] == 0 else channels
    return ((True, ) * size + (False, ) * (-size % MULTIPLE)) * (channels // size)


def pieces(layout, size):
    """The layouts of parts of so many real channels, if these are of one length; otherwise none."""
    count = sum(layout) // size
    length = len(layout) // count
    parts = [layout[start:start + length] for start in range(0, len(layout), length)]
    return parts if len(parts) == count and all(sum(part) == size for part in parts) else []


def widen(conv, before, after):
    """Spread the weights of a convolution over layouts, with zeros in between."""
    rows, columns = (torch.tensor(layout).nonzero()[:, 0] for layout in (after, before))
    weight = conv.weight.new_zeros(len(after), len(before), *conv.weight.shape[2:])
    weight[rows[:, None], columns] = conv.weight
    bias = conv.bias.new_zeros(len(after))
    bias[rows] = conv.bias
    conv.weight, conv.bias, conv.packed = weight, bias, None


def runs(layout):
    """Where each run of real channels starts and stops."""
    edges = [i for i in range(len(layout) + 1) if (i > 0 and layout[i - 1]) != (i < len(layout) and layout[i])]
    return list(zip(edges[::2], edges[1::2]))


def real_channels(x, runs):
    return torch.cat([x[:, start:stop] for start, stop in runs], dim=1)


def fuse_sums(module):
    """conv(a + b) becomes conv(a, x2=b)."""
    for node in list(module.graph.nodes):
        user = only_user(node)
        if (is_addition(node) and fits(called(user, module)) and user.args[0] is node and node not in user.args[1:]
                and [shape(source) for source in node.all_input_nodes] == [shape(node)] * 2):
            first, second = node.args
            user.args, user.kwargs = (first, *user.args[1:]), dict(user.kwargs, x2=second)
            module.graph.erase_node(node)


def join_in_place(module):
    """cat(conv(a), b) becomes a tensor whose first channels the convolution writes; b is copied into the others."""
    graph = module.graph
    order = {node: i for i, node in enumerate(graph.nodes)}
    for node in filter(is_concatenation, list(graph.nodes)):
        parts = node.args[0]
        written = {part for part in parts if fits(called(part, module)) and 'out' not in part.kwargs}
        if not written:
            continue
        first = min(written, key=order.get)
        with graph.inserting_before(first):
            conv = called(first, module)
            whole = graph.call_function(empty_after, (first.args[0], shape(node)[1], *geometry(conv)))
        start = 0
        for part in parts:
            stop = start + shape(part)[1]
            if part in written:
                with graph.inserting_before(part):
                    part.kwargs = dict(part.kwargs, out=graph.call_function(channels_of, (whole, start, stop)))
                written.remove(part)
            start = stop
        with graph.inserting_before(node):
            node.replace_all_uses_with(graph.call_function(fill, (whole, parts)))
        graph.erase_node(node)


def channels_of(x, start, stop):
    return x[:, start:stop]


def fill(whole, parts):
    """Copy into a tensor, channel after channel, those parts that are not there yet."""
    start = 0
    for part in parts:
        place = whole[:, start:start + part.shape[1]]
        if part.data_ptr() != place.data_ptr():
            place.copy_(part)
        start += part.shape[1]
    return whole


def replace_convolutions(module):
    """Convolutions that fit become calls of the kernel."""
    for node in module.graph.nodes:
        conv = called(node, module)
        if fits(conv):
            module.add_submodule(node.target, KernelConv(conv))
