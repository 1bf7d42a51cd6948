"""The same function, faster: a copy of a model for inference, whose backbone is rewritten (``passes.py``).

PyTorch runs the result, or ONNX Runtime, OpenVINO or, on a GPU, the kernel of ``triton/kernel.py``.
"""
import copy
import io

import torch
from torch import nn

from ..models.backbones.base import Backbone
from ..models.heads.res2_shared_head import Res2SharedHead
from .graph import FusedConv
from .passes import rewrite

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
    from .triton.module import TritonBackbone
    return TritonBackbone(module)


BACKENDS = {'pytorch': lambda module: module, 'onnxruntime': OnnxRuntime, 'openvino': OpenVino, 'triton': on_gpu}
