"""What the benchmarks compare: models of this package and of others, and the ways to run one."""
from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Callable, Iterable, Sequence

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..acceleration.backends import CPU_BACKENDS, accelerate
from ..acceleration.exported import compile_for_openvino, onnx_session
from ..acceleration.training.accelerate import accelerate_training
from ..acceleration.training.compilation import many_compilations
from ..models.complexity import Classifier, classifier
from ..models.names import normalise_name, resolve
from .timing import MeasuringSettings

CLASSES = 1000
OURS = 'res2net_mm'
BASELINE = 'resnet50'  # what the others are compared with


def no_progress() -> None:
    """What is called after every model that is built, unless a caller wants to show progress."""


# 1. Whose model: a classifier of an architecture; None where a package has none.


def our_classifier(arch: str) -> nn.Module:
    """The classifier of this package; a ValueError if there is no such architecture."""
    return classifier(resolve(arch).config, CLASSES)


def timm_classifier(arch: str) -> nn.Module | None:
    """The classifier of timm."""
    import timm
    row = resolve(arch)
    names = {normalise_name(name) for name in (row.name, *row.aliases)}
    name = next((name for name in timm.list_models() if normalise_name(name) in names), None)
    return name and timm.create_model(name, num_classes=CLASSES)


def toolbox_classifier(scope: str, arch: str) -> nn.Module | None:
    """The classifier of mmpretrain or mmdet.

    Their models have neither groups nor SE nor Paddle's function, and mmdet's Res2Net has v1b's stem and shortcuts
    only. Where mmdet's pools less than ours, in one block, the cost is the same.
    """
    __import__(f'{scope}.models')
    row = resolve(arch)
    if row.type != 'res2net_mm.Res2Net':
        return None
    values = dict(row.arguments)
    groups, se_reduction, function = values.pop('groups'), values.pop('se_reduction'), values.pop('stage_pool')
    v1b = values['deep_stem'] and values['avg_down']
    if groups > 1 or se_reduction or function == 'strided_hierarchical':
        return None
    if scope == 'mmdet' and values['scales'] > 1 and not v1b:
        return None
    config = dict(type='Res2Net', **values) if values['scales'] > 1 else dict(type='ResNet', depth=values['depth'])
    config = dict(config, type=f'{scope}.{config["type"]}', norm_eval=False)  # mmdet's default is for detectors
    return Classifier(MODELS.build(config), 2048, CLASSES)


PEERS: dict[str, Callable[[str], nn.Module | None]] = {
    'timm': timm_classifier,
    'mmpretrain': partial(toolbox_classifier, 'mmpretrain'),
    'mmdet': partial(toolbox_classifier, 'mmdet'),
}


# 2. How it runs: each takes a model and a batch to a function that runs the one on the other once.


def run_eager(model: nn.Module, batch: Tensor) -> Callable:
    """PyTorch, layer by layer."""
    return lambda: model(batch)


def run_compiled(model: nn.Module, batch: Tensor) -> Callable:
    """``torch.compile``, with the weights as constants on a CPU and the best of several kernels on a GPU."""
    from torch._inductor import config
    fast = compile_static(model, mode='max-autotune' if batch.is_cuda else 'default')
    with config.patch(freezing=not batch.is_cuda):
        fast(batch)
    return lambda: fast(batch)


def compile_static(model: nn.Module, mode: str | None = None) -> nn.Module:
    """``torch.compile`` for inputs of one shape, in one of its modes."""
    return torch.compile(model, dynamic=False, mode=mode)


def run_accelerated(model: nn.Module, batch: Tensor, backend: str = 'auto',
                    run: Callable[[nn.Module, Tensor], Callable] = run_eager) -> Callable:
    """``accelerate``, for our models only."""
    return run(accelerate(model, backend), batch)


def run_onnxruntime(model: nn.Module, batch: Tensor) -> Callable:
    """ONNX Runtime on the CPU."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / 'model.onnx')
        torch.onnx.export(model, (batch, ), path, dynamo=True, verbose=False, external_data=False)
        session = onnx_session(path)
    feed = {session.get_inputs()[0].name: batch.numpy()}
    return lambda: session.run(None, feed)


def run_openvino(model: nn.Module, batch: Tensor) -> Callable:
    """OpenVINO on the CPU."""
    import openvino
    request = compile_for_openvino(openvino.convert_model(model, example_input=batch)).create_infer_request()
    array = batch.numpy()
    return lambda: request.infer([array])


def run_training(model: nn.Module, batch: Tensor,
                 prepare: Callable[[nn.Module], nn.Module] | None = None) -> Callable:
    """A step of SGD with momentum: forward, backward, update.

    Args:
        model (nn.Module): The model, in float32.
        batch (Tensor): The images; if they are not float32, the forward pass runs under autocast to their type.
        prepare (Callable | None): Takes the model, in training mode, to what is trained in its place. Defaults to None.

    Returns:
        Callable: The step.
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


PATHS: dict[str, Callable[[nn.Module, Tensor], Callable]] = {
    'eager': run_eager,
    'compile': run_compiled,
    'onnxruntime': run_onnxruntime,
    'openvino': run_openvino,
    'accelerate': run_accelerated,
    'accelerate-pytorch': partial(run_accelerated, backend='pytorch'),
    'accelerate-compile': partial(run_accelerated, backend='pytorch', run=run_compiled),
    'accelerate-native': partial(run_accelerated, backend='native'),
    'accelerate-native-direct': partial(run_accelerated, backend='native-direct'),
    'accelerate-onnxruntime': partial(run_accelerated, backend='onnxruntime'),
    'accelerate-openvino': partial(run_accelerated, backend='openvino'),
    'accelerate-triton': partial(run_accelerated, backend='triton'),
    'train': run_training,
    'train-accelerate': partial(run_training, prepare=accelerate_training),
    'train-compile': partial(run_training, prepare=compile_static),
}


def is_training(path: str) -> bool:
    """Whether a path is one of training steps."""
    return path.startswith('train')


# 3. Both together.


@dataclass(frozen=True)
class Contender:
    """What is timed.

    Attributes:
        arch (str): Name of the architecture.
        source (str): Whose model of it: ``OURS`` or a key of ``PEERS``.
        path (str): How it runs: a key of ``PATHS``.
        model (nn.Module): The model.
        run (Callable): Runs it once.
    """

    arch: str
    source: str
    path: str
    model: nn.Module
    run: Callable


def build_contenders(archs: Iterable[str], sources: Sequence[str], paths: Sequence[str], batch: Tensor,
                     progress: Callable[[], None] = no_progress) -> tuple[list[Contender], list[str]]:
    """Build what is to be compared, every model with the weights of the same seed.

    Args:
        archs (Iterable[str]): Names of architectures.
        sources (Sequence[str]): Whose models: ``OURS`` and keys of ``PEERS``.
        paths (Sequence[str]): How they run: keys of ``PATHS``.
        batch (Tensor): What they run on, (n, 3, h, w).
        progress (Callable): Called after every model. Defaults to doing nothing.

    Returns:
        tuple[list[Contender], list[str]]: What can be timed, and why something cannot.
    """
    contenders, left_out = [], []
    for arch in archs:
        for source in sources:
            for path in paths:
                if 'accelerate' in path and source != OURS:
                    continue
                try:
                    torch.manual_seed(0)
                    model = our_classifier(arch) if source == OURS else PEERS[source](arch)
                    if model is None:
                        left_out.append(f'{arch} of {source}: there is none')
                        break
                    contenders.append(Contender(arch, source, path, model, prepare_run(model, path, batch)))
                except (ImportError, ValueError) as error:
                    left_out.append(f'{path} of {source}: {error}')
                except RuntimeError as error:  # it cannot be compiled or exported, or does not fit into memory
                    first_line = str(error).strip().partition('\n')[0]
                    left_out.append(f'{path} of {arch} of {source}: {first_line}')
                progress()
    return contenders, list(dict.fromkeys(left_out))


def prepare_run(model: nn.Module, path: str, batch: Tensor) -> Callable:
    """Bring a model to where a batch is, and to its type and layout; return the function that runs it on the batch.

    The function has run once: what is compiled, is compiled.

    Args:
        model (nn.Module): The model.
        path (str): A key of ``PATHS``.
        batch (Tensor): (n, 3, h, w).

    Returns:
        Callable: Runs the model once.
    """
    dtype = torch.float32 if is_training(path) else batch.dtype
    memory_format = torch.contiguous_format if batch.is_contiguous() else torch.channels_last
    model = model.to(batch.device, dtype, memory_format=memory_format).eval()
    with torch.no_grad(), many_compilations():  # of one class of models, for one contender after the other
        run = PATHS[path](model, batch)
        run()
    return run


def random_batch(size: int, image_size: int, settings: MeasuringSettings) -> Tensor:
    """Images of noise, (size, 3, image_size, image_size), on the device and in the type and layout of the settings."""
    batch = torch.randn(size, 3, image_size, image_size, device=settings.device)
    return batch.to(settings.torch_dtype).to(memory_format=settings.memory_format)


# 4. What cannot run.


def check_paths(paths: Sequence[str], device: torch.device, dtype: str) -> None:
    """Refuse, before anything is built, paths that a device or a type does not have.

    Args:
        paths (Sequence[str]): Keys of ``PATHS``.
        device (torch.device): What they are to run on.
        dtype (str): The type of the images.

    Raises:
        ValueError: Naming the path or the type.
    """
    for path in paths:
        if path.removeprefix('accelerate-') in CPU_BACKENDS and (device.type != 'cpu' or dtype != 'float32'):
            raise ValueError(f'--paths {path}: runs on the CPU and in float32 only')
        if path == 'accelerate-triton' and device.type != 'cuda':
            raise ValueError(f'--paths {path}: runs on a GPU only')
        if is_training(path) and dtype == 'float16':
            raise ValueError('--dtype float16: does not train; use bfloat16')
