"""The accelerated backbones on NVIDIA GPUs: one convolution kernel, written in Triton, and CUDA graphs.

The kernel has the channels of a pixel together (NHWC) and leaves no pass over memory but its own: it adds a second
input while it reads the first, adds bias and shortcut and takes the ReLU while it writes, and reads from and writes
into slices of the channels of larger tensors. So four more passes over the graph can follow those of
:mod:`.acceleration`:

1. an addition before a convolution takes place while its input is read;
2. parts of the channels, such as the splits of a Res2Net block, begin at multiples of 8, with zeros in between;
3. convolutions become calls of the kernel;
4. a concatenation becomes a tensor into whose channels its parts are written at once.

Convolutions with groups, those of images, and layers of other kinds are run by PyTorch.
"""
import operator
from functools import partial
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp, TensorMetadata
from triton.testing import do_bench

from ..graph import FusedConv, called, only_user

MULTIPLE = 8  # channels; in 16 bits these are 16 bytes, the most that a thread reads at a time
LEAST_CHANNELS = 8  # of an input; fewer, an image's, would leave most of a tensor core idle
MOST_GRAPHS = 8


# 1. The kernel.


def config(pixels, channels, steps, warps, stages):
    tile = dict(block_m=pixels, block_n=channels, block_k=steps)
    return triton.Config(tile, num_warps=warps, num_stages=stages)


CONFIGS = [  # output pixels × output channels of a tile, input channels of a step; warps, steps that are read ahead
    config(64, 32, 32, 4, 4),
    config(128, 32, 32, 4, 4),
    config(128, 32, 32, 4, 1),  # not read ahead: loads go through the L1 cache, where the taps of a 3×3 overlap
    config(128, 64, 32, 4, 1),
    config(64, 64, 32, 4, 3),
    config(64, 64, 64, 4, 4),
    config(128, 64, 64, 4, 3),
    config(64, 128, 64, 4, 4),
    config(128, 128, 64, 8, 3),
    config(128, 256, 64, 8, 3),
    config(32, 64, 128, 4, 3),  # few pixels: a small image's last stage
]


def prune(configs, arguments, in_channels, out_channels, kernel, **others):
    """What is worth trying: tiles of about the size of the problem; small ones in float32, without tensor cores."""
    pixels, outs, ins = 2**arguments['size'], triton.next_power_of_2(out_channels), triton.next_power_of_2(in_channels)
    if arguments['x'].dtype == torch.float32:
        outs, ins = min(outs, 64), min(ins, 32)

    def sensible(m, n, k, stages):
        return (m <= max(pixels, 64) and (m >= 64 or pixels <= 4096) and min(outs, 64) <= n <= max(outs, 32)
                and k <= max(ins, 32) and (stages > 1 or kernel > 1))

    return [each for each in configs if sensible(*each.kwargs.values(), each.num_stages)]


SIZES = ['pixels', 'height', 'width', 'out_height', 'out_width', 'size']  # any, without compiling anew
LAYER = ['x_step', 'in_channels', 'out_channels', 'kernel', 'stride', 'padding', 'dilation']


@triton.jit(do_not_specialize=SIZES)
def conv_kernel(x, x2, weight, bias, addend, out, pixels, height, width, out_height, out_width, size,
                x_step: tl.constexpr, x2_step: tl.constexpr, addend_step: tl.constexpr, out_step: tl.constexpr,
                in_channels: tl.constexpr, out_channels: tl.constexpr, kernel: tl.constexpr, stride: tl.constexpr,
                padding: tl.constexpr, dilation: tl.constexpr, relu: tl.constexpr,
                block_m: tl.constexpr, block_n: tl.constexpr, block_k: tl.constexpr):
    """A tile of relu(conv(x + x2) + bias + addend): a product of matrices, output pixels × (taps · input channels) and
    (taps · input channels) × output channels, whose left one is gathered from the input as it is needed.

    ``*_step`` are the elements from a pixel to the next; ``size`` is a key of the tuner only. Tiles of the same pixels
    follow one another, so that their input is in the L2 cache; the weights all are.
    """
    tiles: tl.constexpr = (out_channels + block_n - 1) // block_n
    m = tl.program_id(0) // tiles * block_m + tl.arange(0, block_m)
    n = tl.program_id(0) % tiles * block_n + tl.arange(0, block_n)
    top = m // out_width % out_height * stride - padding
    left = m % out_width * stride - padding
    first = (m // (out_height * out_width) * height + top) * width + left  # pixel of the input under the first tap

    chunks: tl.constexpr = (in_channels + block_k - 1) // block_k
    total = tl.zeros((block_m, block_n), tl.float32)
    for step in range(kernel * kernel * chunks):
        tap = step // chunks if kernel > 1 else 0
        c = step % chunks * block_k + tl.arange(0, block_k)
        down = tap // kernel * dilation
        right = tap % kernel * dilation
        inside = (m < pixels) & (top + down >= 0) & (top + down < height) & (left + right >= 0) & (left + right < width)
        exists = c < in_channels
        read = inside[:, None] & exists[None, :]
        pixel = (first + down * width + right).to(tl.int64)[:, None]
        a = tl.load(x + pixel * x_step + c[None, :], read, 0.)
        if x2 is not None:
            a += tl.load(x2 + pixel * x2_step + c[None, :], read, 0.)
        row = (tap * in_channels + c)[:, None]
        b = tl.load(weight + row * out_channels + n[None, :], exists[:, None] & (n < out_channels)[None, :], 0.)
        total = tl.dot(a, b, total, input_precision='ieee')

    written = (m < pixels)[:, None] & (n < out_channels)[None, :]
    pixel = m.to(tl.int64)[:, None]
    total += tl.load(bias + n, n < out_channels, 0.).to(tl.float32)[None, :]
    if addend is not None:
        total += tl.load(addend + pixel * addend_step + n[None, :], written, 0.).to(tl.float32)
    if relu:
        total = tl.maximum(total, 0., propagate_nan=tl.PropagateNan.ALL)
    tl.store(out + pixel * out_step + n[None, :], total.to(out.dtype.element_ty), written)


COMPILED = isinstance(conv_kernel, triton.JITFunction)  # TRITON_INTERPRET=1 has NumPy run it on a CPU, tile by tile
tuned_kernel = triton.autotune(CONFIGS if COMPILED else [config(64, 256, 256, 4, 1)], key=[*LAYER, 'size'],
                               prune_configs_by=dict(early_config_prune=prune),
                               do_bench=partial(do_bench, warmup=5, rep=20))(conv_kernel)


class KernelConv(nn.Module):
    """A call of the kernel, with the weights in its order.

    Args:
        conv (FusedConv): The convolution, for which ``fits`` holds.
    """

    def __init__(self, conv):
        super().__init__()
        self.relu = conv.relu
        self.out_channels, self.in_channels = conv.weight.shape[:2]
        self.geometry = geometry(conv)
        self.register_buffer('weight', conv.weight.permute(2, 3, 1, 0).flatten(0, 2).contiguous())
        self.register_buffer('bias', conv.bias)

    def forward(self, x, addend=None, x2=None, out=None):
        """relu(conv(x + x2) + addend), of tensors in channels_last or of slices of their channels.

        Args:
            x (Tensor): (n, in_channels, h, w).
            addend (Tensor | None): (n, out_channels, h', w'), what is added before the ReLU. Defaults to None.
            x2 (Tensor | None): What is added to x, of its shape. Defaults to None.
            out (Tensor | None): (n, out_channels, h', w'), where the result goes. Defaults to None: a new tensor.

        Returns:
            Tensor: (n, out_channels, h', w').

        Raises:
            ValueError: If a tensor has another shape.
        """
        if out is None:
            out = empty_after(x, self.out_channels, *self.geometry)
        before, after = (len(x), self.in_channels, *x.shape[2:]), (len(x), self.out_channels, *out.shape[2:])
        shapes = dict(x=(x, before), x2=(x2, before), addend=(addend, after), out=(out, after))
        for name, (tensor, wanted) in shapes.items():
            if tensor is not None and tensor.shape != wanted:
                raise ValueError(f'KernelConv: {name} has the shape {tuple(tensor.shape)}, not {wanted}')
        pixels = len(out) * out.shape[2] * out.shape[3]
        if pixels:
            (x, x_step), (x2, x2_step), (addend, addend_step), (_, out_step) = map(as_pixels, (x, x2, addend, out))
            kernel, stride, padding, dilation = self.geometry
            tuned_kernel[lambda tile: (programs(pixels, self.out_channels, tile), )](
                x, x2, self.weight, self.bias, addend, out, pixels, *before[2:], *after[2:], (pixels - 1).bit_length(),
                x_step=x_step, x2_step=x2_step, addend_step=addend_step, out_step=out_step,
                in_channels=self.in_channels, out_channels=self.out_channels,
                kernel=kernel, stride=stride, padding=padding, dilation=dilation, relu=self.relu)
        return out

    def extra_repr(self):
        return f'{self.in_channels}, {self.out_channels}, geometry={self.geometry}, relu={self.relu}'


def fits(conv):
    """Whether a convolution can be run by the kernel."""
    if not isinstance(conv, FusedConv):
        return False
    *sides, groups = conv.geometry
    return (groups == 1 and conv.weight.shape[1] >= LEAST_CHANNELS
            and all(len(set(pair)) == 1 for pair in (*sides, conv.weight.shape[2:])))


def geometry(conv):
    """Kernel size, stride, padding and dilation, which are those of both sides."""
    (padding, _), (stride, _), (dilation, _), _ = conv.geometry
    return conv.weight.shape[-1], stride, padding, dilation


def empty_after(x, channels, kernel, stride, padding, dilation):
    """A new tensor in channels_last for what a convolution makes of x."""
    sides = [(side + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1 for side in x.shape[2:]]
    return torch.empty((len(x), channels, *sides), dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def as_pixels(x):
    """A tensor, copied only if its pixels are not evenly apart, and the elements from a pixel to the next."""
    if x is None:
        return None, 0
    n, channels, height, width = x.shape
    sides = [(width, x.stride(3), 1), (height, x.stride(2), width), (n, x.stride(0), height * width)]
    step = next((stride // pixels for size, stride, pixels in sides if size > 1), channels)
    if x.stride(1) == 1 and all(size == 1 or stride == pixels * step for size, stride, pixels in sides):
        return x, step
    return x.contiguous(memory_format=torch.channels_last), channels


def programs(pixels, channels, tile):
    return triton.cdiv(pixels, tile['block_m']) * triton.cdiv(channels, tile['block_n'])


# 2. Passes over the graph.


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


# 3. The module that runs it.


class Recording(NamedTuple):
    """A CUDA graph, and the tensors that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    images: torch.Tensor
    outs: tuple


class TritonBackbone(nn.Module):
    """A module whose convolutions are calls of the kernel, in float32, bfloat16 or float16, replayed as CUDA graphs.

    A graph replays all launches at once. It is for one batch size and image size, and captured when these come for the
    second time; 8 graphs are kept, for the first such sizes, and other sizes are launched kernel by kernel. The first
    call of a kind tries several tiles for every convolution, which takes minutes once; Triton caches what it compiled.
    What is returned is never overwritten by a later call. Calls must not run on several CUDA streams at a time.

    Args:
        module (fx.GraphModule): A rewritten module; it is used up.
    """

    def __init__(self, module):
        super().__init__()
        self.out_channels = module.out_channels
        use_kernels(module)
        self.module = module
        self._forget_graphs()
        self.eval()

    @torch.no_grad()
    def forward(self, images):
        """Compute in the type of the weights.

        Args:
            images (Tensor): (n, c, h, w) on a CUDA device, of any layout.

        Returns:
            Tensor | tuple[Tensor]: What the module returns, in the layout of the images.

        Raises:
            ValueError: If the images are elsewhere.
        """
        if COMPILED and not images.is_cuda:
            raise ValueError(f'{type(self).__name__} runs on CUDA, not on {images.device}')
        layout = torch.contiguous_format if images.is_contiguous() else torch.channels_last
        dtype = next(self.buffers()).dtype
        with torch.cuda.device_of(images), torch.autocast(images.device.type, enabled=False):
            recording = self._recording(images)
            if recording is None:
                outs = self.module(images.to(dtype, memory_format=torch.channels_last))
                return fx.node.map_aggregate(outs, lambda out: out.contiguous(memory_format=layout))
            recording.images.copy_(images)
            recording.graph.replay()
            return fx.node.map_aggregate(recording.outs, lambda out: out.clone(memory_format=layout))

    def _recording(self, images):
        """That of images of this size, if there is one or it is time to capture one."""
        if not images.is_cuda or not images.numel() or torch.cuda.is_current_stream_capturing():
            return None
        key = images.shape, images.device
        if key not in self.seen:
            self.seen.add(key)
        elif key not in self.graphs and len(self.graphs) < MOST_GRAPHS:
            self.graphs[key] = self._capture(images)
        return self.graphs.get(key)

    def _capture(self, images):
        graph = torch.cuda.CUDAGraph()
        static = torch.empty_like(images, dtype=next(self.buffers()).dtype, memory_format=torch.channels_last)
        # One pool of memory for all graphs: what a replay leaves in it, but for outputs that are copied, is not read.
        pool = next(iter(self.graphs.values())).graph.pool() if self.graphs else None
        # Other threads, such as one that pins the memory of batches, may do meanwhile what a capture forbids.
        with torch.cuda.graph(graph, pool=pool, capture_error_mode='thread_local'):
            outs = self.module(static)
        return Recording(graph, static, outs)

    def _forget_graphs(self):
        self.seen, self.graphs = set(), {}

    def _apply(self, *args, **kwargs):
        self._forget_graphs()  # they use the weights where these were
        return super()._apply(*args, **kwargs)

    def __getstate__(self):
        return {**self.__dict__, 'seen': set(), 'graphs': {}}
