"""What the benchmarks compare: models of this package and of others, and the ways to run one."""
import tempfile
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.registry import MODELS

from ..acceleration.backends import accelerate, compile_for_openvino, onnx_session
from ..acceleration.training.block import accelerate_training, allow_many_compilations
from ..models.complexity import Classifier, classifier
from ..models.names import normalise_name, resolve

CLASSES = 1000
OURS = 'res2net_mm'
BASELINE = 'resnet50'  # what the others are compared with


# 1. Whose model: a classifier of a preset's architecture; None where a package has none.


def from_here(preset):
    return classifier(resolve(preset).config, CLASSES)


def from_timm(preset):
    import timm
    row = resolve(preset)
    names = {normalise_name(name) for name in (row.name, *row.aliases)}
    name = next((name for name in timm.list_models() if normalise_name(name) in names), None)
    return name and timm.create_model(name, num_classes=CLASSES)


def from_toolbox(scope, preset):
    """mmpretrain's and mmdet's models have neither groups nor SE, and mmdet's Res2Net v1b's stem and shortcuts only."""
    __import__(f'{scope}.models')
    row = resolve(preset)
    if row.type != 'res2net_mm.Res2Net':
        return None
    arch = dict(row.arguments)
    groups, se_reduction = arch.pop('groups'), arch.pop('se_reduction')
    v1b = arch['deep_stem'] and arch['avg_down']
    if groups > 1 or se_reduction or (scope == 'mmdet' and arch['scales'] > 1 and not v1b):
        return None
    config = dict(type='Res2Net', **arch) if arch['scales'] > 1 else dict(type='ResNet', depth=arch['depth'])
    config = dict(config, type=f'{scope}.{config["type"]}', norm_eval=False)  # mmdet's default is for detectors
    return Classifier(MODELS.build(config), 2048, CLASSES)


PEERS = {
    'timm': from_timm,
    'mmpretrain': partial(from_toolbox, 'mmpretrain'),
    'mmdet': partial(from_toolbox, 'mmdet'),
}


# 2. How it runs: each takes a model and a batch to a function that runs the one on the other once.


def eager(model, batch):
    """PyTorch, layer by layer."""
    return lambda: model(batch)


def compiled(model, batch):
    """``torch.compile``, with the weights as constants on a CPU and the best of several kernels on a GPU."""
    from torch._inductor import config
    fast = compile_this(model, mode='max-autotune' if batch.is_cuda else 'default')
    with config.patch(freezing=not batch.is_cuda):
        fast(batch)
    return lambda: fast(batch)


def compile_this(model, **options):
    allow_many_compilations()
    return torch.compile(model, dynamic=False, **options)


def accelerated(model, batch, backend='pytorch', run=eager):
    """``accelerate``, for our models only."""
    return run(accelerate(model, backend), batch)


def onnxruntime(model, batch):
    """ONNX Runtime on the CPU."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / 'model.onnx')
        torch.onnx.export(model, (batch, ), path, dynamo=True, verbose=False, external_data=False)
        session = onnx_session(path)
    feed = {session.get_inputs()[0].name: batch.numpy()}
    return lambda: session.run(None, feed)


def openvino(model, batch):
    """OpenVINO on the CPU."""
    import openvino
    request = compile_for_openvino(openvino.convert_model(model, example_input=batch)).create_infer_request()
    array = batch.numpy()
    return lambda: request.infer([array])


def training(model, batch, prepare=None):
    """A step of SGD with momentum: forward, backward, update.

    Args:
        model (nn.Module): The model, in float32.
        batch (Tensor): The images; if they are not float32, the forward pass runs under autocast to their type.
        prepare (Callable | None): Takes the model, in training mode, to what is trained in its place. Defaults to None.
    """
    model.train()
    model = prepare(model) if prepare else model
    labels = torch.arange(len(batch), device=batch.device) % CLASSES
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def step():
        with torch.enable_grad():
            with torch.autocast(batch.device.type, batch.dtype, enabled=batch.dtype != torch.float32):
                loss = torch.nn.functional.cross_entropy(model(batch), labels)
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


PATHS = {
    'eager': eager,
    'compile': compiled,
    'onnxruntime': onnxruntime,
    'openvino': openvino,
    'accelerate': accelerated,
    'accelerate-compile': partial(accelerated, run=compiled),
    'accelerate-onnxruntime': partial(accelerated, backend='onnxruntime'),
    'accelerate-openvino': partial(accelerated, backend='openvino'),
    'accelerate-triton': partial(accelerated, backend='triton'),
    'train': training,
    'train-accelerate': partial(training, prepare=accelerate_training),
    'train-compile': partial(training, prepare=compile_this),
}


def is_training(path):
    return path.startswith('train')


# 3. Both together.


class Contender(NamedTuple):
    """What is timed: a preset, whose model of it, how it runs; the model, and the function that runs it once."""

    preset: str
    source: str
    path: str
    model: torch.nn.Module
    run: callable


def contenders(presets, sources, paths, batch):
    """Build what is to be compared, every model with the weights of the same seed.

    Returns:
        tuple[list[Contender], list[str]]: What can be timed, and why something cannot.
    """
    found, left_out = [], []
    for preset in presets:
        for source in sources:
            for path in paths:
                if 'accelerate' in path and source != OURS:
                    continue
                try:
                    torch.manual_seed(0)
                    model = from_here(preset) if source == OURS else PEERS[source](preset)
                    if model is None:
                        left_out.append(f'{preset} of {source}: there is none')
                        break
                    found.append(Contender(preset, source, path, model, make_run(model, path, batch)))
                except (ImportError, ValueError) as error:
                    left_out.append(f'{path} of {source}: {error}')
                except RuntimeError as error:  # it cannot be compiled or exported, or does not fit into memory
                    first_line = str(error).strip().partition('\n')[0]
                    left_out.append(f'{path} of {preset} of {source}: {first_line}')
                print('.', end='', flush=True)
    print()
    return found, list(dict.fromkeys(left_out))


def make_run(model, path, batch):
    """Bring a model to where a batch is, and to its type and layout; return the function that runs it on the batch.

    The function has run once: what is compiled, is compiled.

    Args:
        model (nn.Module): The model.
        path (str): A key of ``PATHS``.
        batch (Tensor): (n, 3, h, w).
    """
    dtype = torch.float32 if is_training(path) else batch.dtype
    model = model.to(batch.device, dtype, memory_format=layout(batch)).eval()
    with torch.no_grad():
        run = PATHS[path](model, batch)
        run()
    return run


def random_batch(size, image_size, device, dtype, channels_last):
    """Images of noise, (size, 3, image_size, image_size)."""
    batch = torch.randn(size, 3, image_size, image_size, device=device).to(dtype)
    return batch.to(memory_format=torch.channels_last) if channels_last else batch


def layout(batch):
    """The memory format of a batch."""
    return torch.contiguous_format if batch.is_contiguous() else torch.channels_last


# 4. What cannot run.


def check_paths(paths, device, dtype):
    """Refuse, before anything is built, paths that a device or a type does not have.

    Args:
        paths (list[str]): Keys of ``PATHS``.
        device (torch.device): What they are to run on.
        dtype (str): The type of the images.

    Raises:
        ValueError: Naming the path or the type.
    """
    for path in paths:
        if path.endswith(('onnxruntime', 'openvino')) and (device.type != 'cpu' or dtype != 'float32'):
            raise ValueError(f'--paths {path}: runs on the CPU and in float32 only')
        if path == 'accelerate-triton' and device.type != 'cuda':
            raise ValueError(f'--paths {path}: runs on a GPU only')
        if is_training(path) and dtype == 'float16':
            raise ValueError('--dtype float16: does not train; use bfloat16')
