"""The same function, faster: a copy of a model for inference, whose backbone is rewritten.

Most of what Res2Net takes longer than ResNet is not arithmetic but passes over memory between the convolutions. So the
backbone's graph is taken (``torch.fx``) and rewritten, three steps for every convolution:

1. a batch norm that follows it is folded into its weights;
2. an addition that follows takes place while its output is written;
3. so does a ReLU.

What is left are convolutions with such an epilogue, :class:`FusedConv`, and the layers that could not be fused. Nothing
here knows a trunk: every backbone of the package is rewritten alike, its baselines too. PyTorch runs the result, or
ONNX Runtime, OpenVINO or, on a GPU, the kernel of ``triton_backend``.
"""
import copy
import io
import operator

import torch
from torch import fx, nn
from torch.nn.functional import conv2d
from torch.nn.modules.batchnorm import _BatchNorm

from ..models.backbones.base import Backbone
from ..models.heads.res2_shared_head import Res2SharedHead

MOST_SIZES = 8  # for which a library prepares


def accelerate(model, backend='pytorch'):
    """Make a model faster for inference.

    Args:
        model (nn.Module): One of our backbones, or a model with some in it: a detector, a segmentor, ... Its weights
            are loaded already.
        backend (str): What runs the backbones: 'pytorch', 'onnxruntime', 'openvino' or 'triton'; the package of the
            name must be installed. ONNX Runtime and OpenVINO are for float32 on the CPU, Triton is for NVIDIA GPUs.
            Defaults to 'pytorch'.

    Returns:
        nn.Module: A copy in eval mode that computes the same function, up to rounding. Its backbones have no batch
        norms and other keys, so that they can neither be trained nor loaded. The original is as it was.

    Raises:
        ValueError: If there is no backbone of this package in the model, or no such backend.
        ModuleNotFoundError: If the backend's package is not installed.
    """
    if backend not in BACKENDS:
        raise ValueError(f'accelerate: backend={backend!r} must be one of {", ".join(BACKENDS)}')
    model = copy.deepcopy(model).eval()
    found = {name: module for name, module in model.named_modules() if isinstance(module, (Backbone, Res2SharedHead))}
    if not found:
        raise ValueError(f'accelerate: {type(model).__name__} has no backbone of res2net_mm in it')
    for name, module in found.items():
        fast = BACKENDS[backend](rewrite(module))
        if not name:
            return fast
        parent, _, child = name.rpartition('.')
        setattr(model.get_submodule(parent), child, fast)
    return model


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


class Tracer(fx.Tracer):
    """Looks into our modules alone; layers of PyTorch and of toolboxes stay whole."""

    def is_leaf_module(self, module, name):
        return not (isinstance(module, nn.Sequential) or module.__module__.startswith('res2net_mm.'))


class FusedConv(nn.Module):
    """A convolution with bias, then an addition and a ReLU, if they are asked for.

    On a CPU, in float32, this is one call of oneDNN, with the weights in the order that it wants for the first input.

    Args:
        conv (nn.Conv2d): The convolution, in eval mode; its batch norm's part is added by ``fold``.
    """

    def __init__(self, conv):
        super().__init__()
        self.geometry = (list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups)
        bias = conv.weight.new_zeros(len(conv.weight)) if conv.bias is None else conv.bias.detach()
        self.register_buffer('weight', conv.weight.detach())
        self.register_buffer('bias', bias)
        self.relu = False
        self.overwrites_addend = False
        self.packed = None

    def fold(self, bn):
        """Take in the batch norm that follows; in double precision, so that nothing is lost."""
        scale = bn.running_var.double().add(bn.eps).rsqrt()
        scale = scale if bn.weight is None else scale * bn.weight.detach().double()
        shift = 0 if bn.bias is None else bn.bias.detach().double()
        dtype = self.weight.dtype
        self.weight = (self.weight.double() * scale[:, None, None, None]).to(dtype)
        self.bias = ((self.bias.double() - bn.running_mean.double()) * scale + shift).to(dtype)

    def forward(self, x, addend=None):
        """Convolve.

        Args:
            x (Tensor): (n, in_channels, h, w).
            addend (Tensor | None): (n, out_channels, h', w'), what is added before the ReLU. Defaults to None.

        Returns:
            Tensor: (n, out_channels, h', w').
        """
        if self._has_kernel(x):
            return self._one_pass(x, addend)
        padding, stride, dilation, groups = self.geometry
        out = conv2d(x, self.weight, self.bias, stride, padding, dilation, groups)
        if addend is not None:
            out += addend
        return out.relu_() if self.relu else out

    def _has_kernel(self, x):
        traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
        return (not traced and not torch.is_grad_enabled() and x.device.type == 'cpu' and x.dtype == torch.float32
                and torch.backends.mkldnn.is_available())

    def _one_pass(self, x, addend):
        ops = torch.ops.mkldnn
        if self.packed is None:
            self.packed = ops._reorder_convolution_weight(self.weight, *self.geometry, x.shape)
        relu = 'relu' if self.relu else None
        if addend is None:
            return ops._convolution_pointwise(x, self.packed, self.bias, *self.geometry, relu or 'none', [], '')
        epilogue = (self.packed, self.bias, *self.geometry, 'add', 1.0, relu, [], '')
        if self.overwrites_addend:
            return ops._convolution_pointwise_.binary(addend, x, *epilogue)
        return ops._convolution_pointwise.binary(x, addend, *epilogue)

    def _apply(self, *args, **kwargs):
        self.packed = None
        return super()._apply(*args, **kwargs)

    def __getstate__(self):
        return {**self.__dict__, 'packed': None}  # it has no storage that could be copied

    def extra_repr(self):
        return f'{tuple(self.weight.shape)}, relu={self.relu}'


# Passes over the graph.


def called(node, module):
    """The module that a node calls, None if it calls none."""
    return module.get_submodule(node.target) if isinstance(node, fx.Node) and node.op == 'call_module' else None


def only_user(node):
    return next(iter(node.users)) if len(node.users) == 1 else None


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


# Backends: each takes a rewritten module to one that runs it.


class Exported(nn.Module):
    """A module that another library runs on the CPU, on as many threads as PyTorch; images of any size and number.

    Libraries are faster at sizes that they know when they prepare a model. So a size that comes again is prepared for,
    up to :data:`MOST_SIZES` of them; others share a model that takes any.

    Args:
        module (nn.Module): The module, in eval mode.
    """

    def __init__(self, module):
        super().__init__()
        self.out_channels = module.out_channels
        channels = next(conv for conv in module.modules() if isinstance(conv, FusedConv)).weight.shape[1]
        outputs = module(torch.zeros(1, channels, 64, 64))
        self.single = isinstance(outputs, torch.Tensor)
        names = ['out'] if self.single else [f'out{i}' for i in range(len(outputs))]
        axes = {name: {0: 'number', 2: f'height_{name}', 3: f'width_{name}'} for name in ('images', *names)}
        file = io.BytesIO()
        torch.onnx.export(module, (torch.zeros(1, channels, 64, 64), ), file, dynamo=False, input_names=['images'],
                          output_names=names, dynamic_axes=axes)
        self.model = file.getvalue()
        self.any_size = self.prepare()
        self.seen, self.prepared = set(), {}

    def forward(self, images):
        """(n, c, h, w), float32 on the CPU -> what the module returns."""
        if images.device.type != 'cpu' or images.dtype != torch.float32:
            raise ValueError(f'{type(self).__name__} runs float32 on the CPU, not {images.dtype} on {images.device}')
        outs = self.run(images.detach().contiguous())
        return outs[0] if self.single else tuple(outs)

    def run(self, images):
        """Images -> a list of outputs."""
        outs = self.runner_for(tuple(images.shape))(images.numpy())
        return [torch.from_numpy(out) for out in outs]

    def runner_for(self, shape):
        """What takes an array of this shape to a list of arrays."""
        if shape in self.seen and shape not in self.prepared and len(self.prepared) < MOST_SIZES:
            self.prepared[shape] = self.prepare(shape)
        self.seen.add(shape)
        return self.prepared.get(shape, self.any_size)


class OnnxRuntime(Exported):
    """A module that ONNX Runtime runs."""

    def prepare(self, shape=None):
        names = ('number', 'channels', 'height_images', 'width_images')
        session = onnx_session(self.model, zip(names, shape or ()))
        return lambda images: session.run(None, {'images': images})


class OpenVino(Exported):
    """A module that OpenVINO runs, image by image: the features of one stay in the processor's cache."""

    def prepare(self, shape=None):
        import openvino
        model = openvino.Core().read_model(self.model)
        if shape:
            model.reshape(list(shape))
        compiled = compile_for_openvino(model)
        return lambda images: list(compiled([images]).values())

    def run(self, images):
        outs = zip(*(super(OpenVino, self).run(image) for image in images.split(1)))
        return [torch.cat(out) if len(out) > 1 else out[0] for out in outs]


def onnx_session(model, sizes=()):
    """ONNX Runtime on the CPU, on as many threads as PyTorch, for a model's file or bytes.

    Args:
        model (str | bytes): The model.
        sizes (Sequence[tuple[str, int]]): Names of sizes that the model leaves open, and what they are. Defaults to ().
    """
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    for name, size in sizes:
        options.add_free_dimension_override_by_name(name, size)
    return onnxruntime.InferenceSession(model, options, providers=['CPUExecutionProvider'])


def compile_for_openvino(model):
    """OpenVINO on the CPU, on as many threads as PyTorch; not in bfloat16, its default where the processor has it."""
    import openvino
    settings = dict(INFERENCE_NUM_THREADS=torch.get_num_threads(), INFERENCE_PRECISION_HINT='f32')
    return openvino.compile_model(model, 'CPU', settings)


def on_gpu(module):
    """A module that Triton's kernels run, on an NVIDIA GPU."""
    from .triton.kernel import TritonBackbone
    return TritonBackbone(module)


BACKENDS = {'pytorch': lambda module: module, 'onnxruntime': OnnxRuntime, 'openvino': OpenVino, 'triton': on_gpu}
