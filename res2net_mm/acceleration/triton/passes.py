"""Four more passes over a rewritten backbone's graph, which use what the kernel can do.

1. an addition before a convolution takes place while its input is read;
2. parts of the channels, such as the splits of a Res2Net block, begin at multiples of 8, with zeros in between;
3. convolutions become calls of the kernel;
4. a concatenation becomes a tensor into whose channels its parts are written at once.

Convolutions with groups, those of images, and layers of other kinds are run by PyTorch.
"""
from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Callable, Sequence, Tuple

import torch
from torch import Tensor, fx, nn

from ..fused_conv import FusedConv, operators_alone
from ..graph import (
    called_module,
    feature_shape,
    is_addition,
    may_change_tensors,
    note_shapes,
    nothing_changes_between,
    only_user,
    whole,
)
from .kernel import KernelConv, empty_output, fits_kernel, square_geometry
from .pooling import KernelPool, fits_pooling

if TYPE_CHECKING:
    from typing import TypeGuard  # from Python 3.10 on

MULTIPLE = 8  # channels; in 16 bits these are 16 bytes, the most that a thread reads at a time

Layout = Tuple[bool, ...]  # of every channel whether it is real, or a zero that fills up


def use_kernels(module: fx.GraphModule, images: Tensor) -> None:
    """Run all passes over a rewritten module, one after the other.

    Args:
        module (fx.GraphModule): What ``rewrite`` returned; it is changed.
        images (Tensor): (n, c, h, w), an example of what it takes.
    """
    with operators_alone():
        note_shapes(module, images)
        align_channels(module)
        note_shapes(module, images)
    fuse_input_additions(module)
    join_in_place(module)
    replace_layers(module)
    module.recompile()


def is_concatenation(node: fx.Node) -> bool:
    """Whether a node concatenates channels of feature maps."""
    if node.op != 'call_function' or node.target is not torch.cat or not set(node.kwargs) <= {'dim'}:
        return False
    arguments = [*node.args, *node.kwargs.values()]
    return arguments[1:] == [1] and isinstance(arguments[0], (list, tuple)) and all(map(feature_shape, arguments[0]))


def is_split(node: Any) -> TypeGuard[fx.Node]:
    """Whether something is a node that splits channels into parts of one size, which are used one by one."""
    return (isinstance(node, fx.Node) and node.op == 'call_method' and node.target == 'split'
            and node.kwargs == dict(dim=1) and isinstance(node.args[1], int)
            and all(user.target is operator.getitem and isinstance(user.args[1], int) for user in node.users))


def start_of_part(part: fx.Node) -> int:
    """The first channel of a part of a split."""
    split, number = part.args
    size = split.args[1]
    return number % -(-feature_shape(split.args[0])[1] // size) * size  # a negative number counts from the end


def align_channels(module: fx.GraphModule) -> None:
    """Let parts of channels, such as splits, begin at multiples of 8, with zeros in between."""
    layouts: dict[fx.Node, Layout] = {}

    def layout(node: fx.Node) -> Layout:
        return layouts.get(node, (True, ) * sum(feature_shape(node)[1:2]))

    for node in list(module.graph.nodes):
        conv, inputs = called_module(node, module), node.all_input_nodes
        if node in layouts or not inputs:
            continue
        if fits_kernel(conv):
            layouts[node] = layout(node.args[1]) if len(node.args) == 2 else padded_layout(node)
            pad_weights(conv, layout(node.args[0]), layouts[node])
        elif is_split(node) and split_layout(layout(inputs[0]), node.args[1]):
            parts = split_layout(layout(inputs[0]), node.args[1])
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
                        ranges = real_ranges(layout(source))
                        real = module.graph.call_function(real_channels, (source, ranges))
                    node.replace_input_with(source, real)


def keeps_zeros(layer: nn.Module | None, node: fx.Node) -> bool:
    """Whether channels that are zero in the inputs of a node are so in its output."""
    return isinstance(layer, (nn.AvgPool2d, nn.MaxPool2d)) or is_addition(node)


def padded_layout(node: fx.Node) -> Layout:
    """The layout of a convolution's output: every part that it is split into is filled up, or the whole."""
    channels, user = feature_shape(node)[1], only_user(node)
    size = user.args[1] if is_split(user) and channels % user.args[1] == 0 else channels
    return ((True, ) * size + (False, ) * (-size % MULTIPLE)) * (channels // size)


def split_layout(layout: Layout, size: int) -> list[Layout]:
    """The layouts of parts of ``size`` real channels, if these are of one length; otherwise none."""
    count = sum(layout) // size
    if not count:
        return []
    length = len(layout) // count
    parts = [layout[start:start + length] for start in range(0, len(layout), length)]
    return parts if len(parts) == count and all(sum(part) == size for part in parts) else []


def pad_weights(conv: FusedConv, before: Layout, after: Layout) -> None:
    """Spread a convolution's weights over the layouts of its input and its output, zeros in between."""
    rows, columns = (torch.tensor(layout).nonzero()[:, 0] for layout in (after, before))
    weight = conv.weight.new_zeros(len(after), len(before), *conv.weight.shape[2:])
    weight[rows[:, None], columns] = conv.weight
    bias = conv.bias.new_zeros(len(after))
    bias[rows] = conv.bias
    conv.weight, conv.bias = weight, bias


def real_ranges(layout: Layout) -> list[tuple[int, int]]:
    """Start and stop of every range of real channels."""
    edges = [i for i in range(len(layout) + 1) if (i > 0 and layout[i - 1]) != (i < len(layout) and layout[i])]
    return list(zip(edges[::2], edges[1::2]))


@whole
def real_channels(x: Tensor, ranges: Sequence[tuple[int, int]]) -> Tensor:
    """A copy of ranges of channels, without the zeros in between."""
    return torch.cat([x[:, start:stop] for start, stop in ranges], dim=1)


def fuse_input_additions(module: fx.GraphModule) -> None:
    """Replace conv(a + b) by conv(a, x2=b)."""
    for node in list(module.graph.nodes):
        user = only_user(node)
        if (is_addition(node) and user is not None and fits_kernel(called_module(user, module))
                and user.args[0] is node and node not in user.args[1:]
                and [feature_shape(source) for source in node.all_input_nodes] == [feature_shape(node)] * 2
                and nothing_changes_between(node, user, module)):
            first, second = node.args
            user.args, user.kwargs = (first, *user.args[1:]), dict(user.kwargs, x2=second)
            module.graph.erase_node(node)


def join_in_place(module: fx.GraphModule) -> None:
    """Replace cat(conv(a), b) by a tensor into which convolutions and poolings write.

    A convolution whose output is split, and of which one part is concatenated as it is, as a block's last split is,
    writes that part twice. What else is concatenated is copied. Then a part and the whole are the same memory, so that
    no layer of the graph may write into a tensor.
    """
    graph = module.graph
    if any(may_change_tensors(node, module) for node in graph.nodes):
        return
    order = {node: i for i, node in enumerate(graph.nodes)}
    for node in filter(is_concatenation, list(graph.nodes)):
        parts = node.args[0]
        convs = [part for part in parts if writes_anywhere(part, fits_kernel, module)]
        if not convs:
            continue
        sources = filter(None, (split_convolution(part, module) for part in parts))
        first = min([*convs, *sources], key=order.__getitem__)
        with graph.inserting_before(first):
            conv = called_module(first, module)
            assert fits_kernel(conv)
            whole = graph.call_function(empty_output, (first.args[0], feature_shape(node)[1], *square_geometry(conv)))
        missing, start = [], 0
        for i, part in enumerate(parts):
            source = split_convolution(part, module)
            writer = source or part
            with graph.inserting_before(writer):
                place = graph.call_function(slice_channels, (whole, start, start + feature_shape(part)[1]))
            if source:
                source.kwargs = dict(source.kwargs, copy=place, copy_start=start_of_part(part))
            elif writes_anywhere(part, fits_kernel, module) or (
                    writes_anywhere(part, fits_pooling, module) and order[part] > order[first]):
                part.kwargs = dict(part.kwargs, out=place)
            else:
                graph.erase_node(place)
                missing.append(i)
            start += feature_shape(part)[1]
        with graph.inserting_before(node):
            node.replace_all_uses_with(graph.call_function(copy_missing, (whole, parts, missing)))
        graph.erase_node(node)


def writes_anywhere(node: fx.Node, fits: Callable[[nn.Module | None], bool], module: fx.GraphModule) -> bool:
    """Whether a node is a layer that fits a kernel, and may still be told where to write."""
    return fits(called_module(node, module)) and 'out' not in node.kwargs


def split_convolution(part: fx.Node, module: fx.GraphModule) -> fx.Node | None:
    """The convolution of whose split output a node is one part, if it does not write a part twice already."""
    split = part.args[0] if part.target is operator.getitem else None
    if not is_split(split):
        return None
    conv = split.args[0]
    return conv if fits_kernel(called_module(conv, module)) and 'copy' not in conv.kwargs else None


@whole
def slice_channels(x: Tensor, start: int, stop: int) -> Tensor:
    """A slice of the channels, the same memory."""
    return x[:, start:stop]


@whole
def copy_missing(whole: Tensor, parts: Sequence[Tensor], missing: Sequence[int]) -> Tensor:
    """Copy into a tensor those parts of its channels, by number, that nobody has written there."""
    start = 0
    for i, part in enumerate(parts):
        if i in missing:
            whole[:, start:start + part.shape[1]].copy_(part)
        start += part.shape[1]
    return whole


def replace_layers(module: fx.GraphModule) -> None:
    """Make convolutions and poolings that fit calls of the kernels."""
    for node in module.graph.nodes:
        layer = called_module(node, module)
        if fits_kernel(layer):
            module.add_submodule(node.target, KernelConv(layer))
        elif fits_pooling(layer):
            module.add_submodule(node.target, KernelPool(layer))
