"""A graph of convolutions as the engine takes it: buffers, and layers that read and write slices of their channels."""
from __future__ import annotations

import ctypes
import operator
from typing import Any, NamedTuple

import torch
from torch import fx, nn

from ..fused_conv import FusedConv
from ..geometry import as_pair
from ..graph import called_module, feature_shape, is_addition, noted, only_user, plain_layer

INPUT, CONVOLUTION, MAX_POOL, AVERAGE_POOL, ADD, OUTPUT = range(6)  # as in engine.cpp


class Slice(ctypes.Structure):
    """Channels of a buffer."""

    _fields_ = [(name, ctypes.c_int32) for name in ('buffer', 'channel', 'channels')]

    def part(self, channel: int, channels: int) -> Slice:
        """Some of these channels."""
        return Slice(self.buffer, self.channel + channel, channels)


NOTHING = Slice(-1, 0, 0)
Pair = ctypes.c_int32 * 2


class Layer(ctypes.Structure):
    """One layer, as in engine.cpp."""

    _fields_ = [
        ('kind', ctypes.c_int32), ('tensor', ctypes.c_int32), ('source', Slice), ('out', Slice), ('addend', Slice),
        ('second', Slice), ('second_addend', Slice), ('kernel', Pair), ('stride', Pair), ('padding', Pair),
        ('dilation', Pair), ('groups', ctypes.c_int32), ('relu', ctypes.c_int32), ('ceil', ctypes.c_int32),
        ('count_padding', ctypes.c_int32), ('weight', ctypes.c_void_p), ('bias', ctypes.c_void_p)]


class Buffer(ctypes.Structure):
    """A feature map, with a border of zeros so many pixels wide."""

    _fields_ = [('channels', ctypes.c_int32), ('border', ctypes.c_int32)]


class Part(NamedTuple):
    """Channels of what a node returns."""

    node: fx.Node
    channel: int
    channels: int


class Compiled(NamedTuple):
    """What the engine needs of a graph, and nothing that cannot be pickled."""

    layers: bytes  # of an array of Layer, without the addresses of weights
    buffers: bytes
    convolutions: list[str]  # names of the modules, in the order of their layers
    channels: list[int]  # of the inputs
    single: bool  # whether the graph returns one tensor, and not a tuple


def compiled(module: fx.GraphModule) -> Compiled:
    """A graph as the engine takes it; see :class:`Program`."""
    program = Program(module)
    return Compiled(b''.join(map(bytes, program.layers)), b''.join(map(bytes, program.buffers)), program.convolutions,
                    list(map(channels_of, program.inputs)), program.single)


def as_array(kind: type[ctypes.Structure], data: bytes) -> Any:
    """An array of structures of its bytes."""
    return (kind * (len(data) // ctypes.sizeof(kind))).from_buffer_copy(data)


class Program:
    """The buffers and layers of a graph.

    A convolution with padding reads its input from a buffer with a border of zeros. What only such convolutions read is
    written there at once; what others read too is written twice, by the layer that makes it. A sum y + u whose y is a
    convolution's output is that second output. A concatenation is a buffer that its parts are written to; where the
    last part is already there, as in a block of Res2Net, it is the buffer of what was split.

    Args:
        module (fx.GraphModule): A graph whose nodes are those of :func:`is_native`, with noted shapes. It takes
            tensors, and returns one or several.
    """

    def __init__(self, module: fx.GraphModule) -> None:
        self.module = module
        self.buffers: list[Buffer] = []
        self.layers: list[Layer] = []
        self.convolutions: list[str] = []
        self.homes: dict[fx.Node, Slice] = {}  # where what a node returns is, or will be
        self.bordered: dict[Part, Slice] = {}  # second outputs: the same with a border
        self.sums: dict[fx.Node, Slice] = {}   # second outputs: with an addend
        self.order = {node: i for i, node in enumerate(module.graph.nodes)}
        self.inputs = [node for node in module.graph.nodes if node.op == 'placeholder']
        output, = (node for node in module.graph.nodes if node.op == 'output')
        returned = output.args[0]
        self.single = isinstance(returned, fx.Node)
        self.outputs: list[fx.Node] = [returned] if self.single else list(returned)
        for node in module.graph.nodes:
            self.add(node)

    def add(self, node: fx.Node) -> None:
        """Add the layers of a node, if it has some."""
        layer = called_module(node, self.module)
        if node.op == 'placeholder':
            self.write(INPUT, tensor=self.inputs.index(node), out=self.home(node))
        elif isinstance(layer, FusedConv):
            self.convolve(node, layer)
        elif isinstance(layer, (nn.MaxPool2d, nn.AvgPool2d)):
            maximum = isinstance(layer, nn.MaxPool2d)
            self.write(MAX_POOL if maximum else AVERAGE_POOL, source=self.where(node.args[0]), out=self.home(node),
                       kernel=as_pair(layer.kernel_size), stride=as_pair(layer.stride), padding=as_pair(layer.padding),
                       ceil=layer.ceil_mode, count_padding=not maximum and layer.count_include_pad)
        elif is_addition(node) and node not in self.sums:
            first, other = map(self.where, node.args)
            self.write(ADD, source=first, addend=other, out=self.home(node))
        elif isinstance(layer, nn.ReLU):
            self.write(ADD, source=self.where(node.args[0]), out=self.home(node), relu=True)
        elif calls_cat(node):
            self.concatenate(node)
        for number, output in enumerate(self.outputs):
            if output is node:
                self.write(OUTPUT, tensor=number, source=self.where(node))

    def write(self, kind: int, **fields: Any) -> None:
        """Add a layer; fields that are not given do nothing."""
        places = dict.fromkeys(('source', 'out', 'addend', 'second', 'second_addend'), NOTHING)
        window = dict(kernel=(1, 1), stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1)
        values = {**places, **window, **fields}
        pairs = {name: Pair(*values.pop(name)) for name in ('kernel', 'stride', 'padding', 'dilation')}
        self.layers.append(Layer(kind=kind, **values, **pairs))

    def convolve(self, node: fx.Node, conv: FusedConv) -> None:
        """Add a convolution, and before it a copy of its input if that has no border yet."""
        padding, stride, dilation, groups = conv.geometry
        read = part_of(node.args[0])
        source = self.where(node.args[0])
        if any(padding):
            source = self.bordered.get(read, source)
            if self.buffers[source.buffer].border < max(padding):
                self.bordered[read] = self.new_buffer(read.channels, self.needed_border(read))
                self.write(ADD, source=source, out=self.bordered[read])
                source = self.bordered[read]
        addend = self.where(node.args[1]) if len(node.args) > 1 else NOTHING
        if (node.kwargs.get('overwrite') and node not in self.homes and self.is_whole(addend)
                and not self.bordered_parts(node)):
            self.homes[node] = addend
        out = self.home(node)
        second, second_addend = self.second(node)
        self.convolutions.append(str(node.target))
        self.write(CONVOLUTION, source=source, out=out, addend=addend, second=second, second_addend=second_addend,
                   kernel=conv.weight.shape[2:], stride=stride, padding=padding, dilation=dilation, groups=groups,
                   relu=conv.relu)

    def second(self, node: fx.Node) -> tuple[Slice, Slice]:
        """Where a convolution's second output goes, and what is added to it: a sum, or a copy with a border."""
        for user in node.users:
            if is_addition(user) and user.args[0] is not user.args[1] and user not in self.homes:
                other, = (arg for arg in user.args if arg is not node)
                if self.order[part_of(other).node] < self.order[node]:
                    self.sums[user] = self.home(user)
                    return self.sums[user], self.where(other)
        if not self.buffers[self.homes[node].buffer].border:
            for read in self.bordered_parts(node):
                if read.channel == 0:
                    self.bordered[read] = self.new_buffer(read.channels, self.needed_border(read))
                    return self.bordered[read], NOTHING
        return NOTHING, NOTHING

    def home(self, node: fx.Node) -> Slice:
        """Where what a node returns is written first."""
        if node not in self.homes:
            self.homes[node] = self.find_home(node)
        return self.homes[node]

    def find_home(self, node: fx.Node) -> Slice:
        """A slice of a concatenation, or a buffer of its own, with a border if nobody reads it but who wants one."""
        channels = channels_of(node)
        for user in node.users:
            if calls_cat(user) and user.args[0].count(node) == 1:
                before = user.args[0][:user.args[0].index(node)]
                return self.home_of_concatenation(user).part(sum(map(channels_of, before)), channels)
        wanted = self.bordered_parts(node)
        others = [read for read in readers_of(node) if read not in wanted]
        twice = isinstance(called_module(node, self.module), FusedConv) and len(wanted) == 1 and others
        return self.new_buffer(channels, 0 if twice else max(map(self.needed_border, wanted), default=0))

    def home_of_concatenation(self, node: fx.Node) -> Slice:
        """The buffer of a concatenation: of its own, or that of what was split."""
        if node not in self.homes:
            last = part_of(node.args[0][-1])
            base = self.homes.get(last.node)
            if base is None or last.node is node.args[0][-1] or not self.is_used_up(last.node, node):
                border = max(map(self.needed_border, self.bordered_parts(node)), default=0)
                base = self.new_buffer(channels_of(node), border)
            self.homes[node] = base
        return self.homes[node]

    def is_used_up(self, whole: fx.Node, concatenation: fx.Node) -> bool:
        """Whether the parts of a concatenation may take the places of those of what was split, the last staying.

        Each must be read only by what has run when the new part is written.
        """
        home, reads, channel = self.homes[whole], readers_of(whole), 0
        *parts, last = concatenation.args[0]
        if (not self.is_whole(home) or self.buffers[home.buffer].border or home.channels != channels_of(concatenation)
                or part_of(last) != Part(whole, home.channels - channels_of(last), channels_of(last))):
            return False
        for part in parts:
            place = Part(whole, channel, channels_of(part))
            channel += place.channels
            overlapping = [read for read in reads
                           if read.channel < channel and place.channel < read.channel + read.channels]
            if part_of(part).node is not part or any(read != place for read in overlapping):
                return False
            for user in reads.get(place, []):
                if self.order[user] >= self.order[part] and not (user is part and self.padding(user)):
                    return False
        return True

    def concatenate(self, node: fx.Node) -> None:
        """Copy those parts of a concatenation that were not written there."""
        home, channel = self.home_of_concatenation(node), 0
        for part in node.args[0]:
            place, source = home.part(channel, channels_of(part)), self.where(part)
            channel += place.channels
            if bytes(place) != bytes(source):
                self.write(ADD, source=source, out=place)

    def where(self, node: fx.Node) -> Slice:
        """Where what a node returned is."""
        part = part_of(node)
        return (self.sums.get(part.node) or self.homes[part.node]).part(part.channel, part.channels)

    def bordered_parts(self, node: fx.Node) -> list[Part]:
        """The parts of what a node returns that convolutions with padding read."""
        return [read for read in readers_of(node) if self.needed_border(read)]

    def needed_border(self, read: Part) -> int:
        """The widest padding of the convolutions that read a part."""
        return max(map(self.padding, readers_of(read.node)[read]))

    def padding(self, user: fx.Node) -> int:
        """The padding of a convolution; 0 of other nodes."""
        conv = called_module(user, self.module)
        return max(conv.geometry[0]) if isinstance(conv, FusedConv) else 0

    def new_buffer(self, channels: int, border: int = 0) -> Slice:
        """All channels of a new buffer."""
        self.buffers.append(Buffer(channels, border))
        return Slice(len(self.buffers) - 1, 0, channels)

    def is_whole(self, place: Slice) -> bool:
        """Whether a slice is all channels of a buffer."""
        return place.channels == self.buffers[place.buffer].channels


def is_native(node: fx.Node, module: fx.GraphModule) -> bool:
    """Whether a node is one that the engine has a layer for, on float32 images."""
    layer = called_module(node, module)
    if node.op == 'output':
        returned = node.args[0]
        return all(map(is_feature_map, [returned] if isinstance(returned, fx.Node) else returned))
    if node.op == 'placeholder':
        return is_feature_map(node)
    if calls_split(node):
        dim = node.kwargs.get('dim', node.args[2] if len(node.args) > 2 else 0)
        return dim == 1 and is_feature_map(node.args[0])
    if is_part(node):
        return calls_split(node.args[0]) and isinstance(node.args[1], int) and is_native(node.args[0], module)
    if not is_feature_map(node) or not all(map(is_feature_map, node.all_input_nodes)):
        return False
    if isinstance(layer, FusedConv):
        return layer.weight.dtype == torch.float32
    pool, average = plain_layer(node, module, nn.MaxPool2d), plain_layer(node, module, nn.AvgPool2d)
    if pool is not None:
        return as_pair(pool.dilation) == (1, 1) and not pool.return_indices
    if average is not None:
        return average.divisor_override is None
    relu = plain_layer(node, module, nn.ReLU)
    if relu is not None:
        before = node.args[0]
        return not relu.inplace or only_user(before) is node and not is_part(before)
    if is_addition(node):
        return all(isinstance(arg, fx.Node) and noted(arg) == noted(node) for arg in node.args)
    return calls_cat(node) and node.kwargs.get('dim', node.args[1] if len(node.args) > 1 else 0) == 1


def is_feature_map(node: Any) -> bool:
    """Whether a node returns one tensor of images, channels, height and width, in float32."""
    return feature_shape(node) != () and node.meta['tensor_meta'].dtype == torch.float32


def channels_of(node: fx.Node) -> int:
    """The channels of what a node returns."""
    return node.meta['tensor_meta'].shape[1]


def calls_split(node: fx.Node) -> bool:
    """Whether a node cuts a tensor up, by ``split`` or ``chunk``."""
    return node.op == 'call_method' and node.target in ('split', 'chunk')


def is_part(node: fx.Node) -> bool:
    """Whether a node takes one of several."""
    return node.op == 'call_function' and node.target is operator.getitem


def calls_cat(node: fx.Node) -> bool:
    """Whether a node concatenates tensors."""
    return (node.op == 'call_function' and node.target is torch.cat and set(node.kwargs) <= {'dim'}
            and isinstance(node.args[0], (list, tuple)))


def part_of(node: fx.Node) -> Part:
    """What a node returns, as a part of what a node with a layer returns."""
    if not is_part(node):
        return Part(node, 0, channels_of(node))
    split, index = node.args
    sizes = [metadata.shape[1] for metadata in split.meta['tensor_meta']]
    index %= len(sizes)
    whole = part_of(split.args[0])
    return Part(whole.node, whole.channel + sum(sizes[:index]), sizes[index])


def readers_of(node: fx.Node) -> dict[Part, list[fx.Node]]:
    """The parts of what a node returns that are read, and by which nodes."""
    found: dict[Part, list[fx.Node]] = {}
    aliases = [node]
    for alias in aliases:
        for user in alias.users:
            if calls_split(user) or is_part(user):
                aliases.append(user)
            else:
                found.setdefault(part_of(alias), []).append(user)
    return found
