"""PaddleClas's own Res2Nets with random weights: their files, and what they compute.

An interpreter with Paddle runs it::

    PYTHON paddle_reference.py make   FOLDER MODULE LAYERS SCALES WIDTH   # writes weights.pdparams and outputs.npz
    PYTHON paddle_reference.py reload FOLDER MODULE LAYERS SCALES WIDTH   # fails unless back.pdparams gives the same

It needs paddlepaddle, and PaddleClas's distribution (paddleclas), of which it runs the file of the model alone: to
import the whole of it takes many packages more. Nothing of this project, which may be absent there, is imported.
"""
from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

CLASSES = {'res2net': 'Res2Net', 'res2net_vd': 'Res2Net_vd'}  # by the module of PaddleClas
IMAGES = (2, 3, 75, 97)  # sizes that are no multiples, so that poolings meet the border


def build_model(module: str, layers: int, scales: int, width: int) -> Any:
    """Build a model of PaddleClas in eval mode, with random weights and statistics.

    Args:
        module (str): The module of its backbones, a key of ``CLASSES``.
        layers (int): Its depth.
        scales (int): Number of splits.
        width (int): Channels of a split in the first stage.
    """
    import paddle
    paddle.seed(1)
    model = getattr(_load_module(module), CLASSES[module])(layers=layers, scales=scales, width=width)
    random = np.random.RandomState(2)
    norms = [layer for layer in model.sublayers() if isinstance(layer, paddle.nn.BatchNorm)]
    for norm in norms:
        _set(norm.weight, random.uniform(0.5, 1.5, norm.weight.shape))
        _set(norm.bias, random.normal(0, 0.2, norm.bias.shape))
        norm._momentum = 0.0
    # Statistics near those of a batch keep the features of 200 layers at a size that can be compared.
    model(paddle.to_tensor(random.normal(size=IMAGES).astype('float32')))
    for norm in norms:
        _set(norm._mean, norm._mean.numpy() + random.normal(0, 0.2, norm._mean.shape) * norm._variance.numpy()**0.5)
        _set(norm._variance, norm._variance.numpy() * random.uniform(0.5, 1.5, norm._variance.shape))
    model.eval()
    return model


def _set(value: Any, numbers: np.ndarray) -> None:
    value.set_value(numbers.astype('float32'))


def _load_module(name: str) -> ModuleType:
    """Run the file of a model, with a stand-in for the functions that would load public weights."""
    package = importlib.util.find_spec('paddleclas')
    if package is None or not package.submodule_search_locations:
        raise ImportError('there is no PaddleClas: pip install --no-deps paddleclas')
    path = Path(package.submodule_search_locations[0], 'ppcls', 'arch', 'backbone', 'model_zoo', f'{name}.py')
    loading = ModuleType('ppcls.utils.save_load')
    vars(loading).update(load_dygraph_pretrain=None, load_dygraph_pretrain_from_url=None)
    for part in ('ppcls', 'ppcls.utils', 'ppcls.arch', 'ppcls.arch.backbone', 'ppcls.arch.backbone.model_zoo'):
        sys.modules[part] = ModuleType(part)
    sys.modules[loading.__name__] = loading
    spec = importlib.util.spec_from_file_location(f'ppcls.arch.backbone.model_zoo.{name}', path)
    assert spec is not None and spec.loader is not None  # as for every path of a .py file
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compute_outputs(model: Any, images: np.ndarray) -> dict[str, np.ndarray]:
    """What the stages of a model return for images, 'stage1' to 'stage4', and 'logits'."""
    import paddle
    outputs: dict[str, np.ndarray] = {}
    last = {name.split('_')[1]: block for name, block in model.named_children() if name.startswith('bb_')}
    hooks = [block.register_forward_post_hook(
        lambda _, inputs, out, name=f'stage{int(stage) + 1}': outputs.update({name: out.numpy()}))
        for stage, block in last.items()]
    with paddle.no_grad():
        outputs['logits'] = model(paddle.to_tensor(images)).numpy()
    for hook in hooks:
        hook.remove()
    return outputs


def make(folder: Path, model: Any) -> None:
    """Write the weights of a model, images, and its outputs for them."""
    import paddle
    images = np.random.RandomState(3).normal(size=IMAGES).astype('float32')
    paddle.save(model.state_dict(), str(folder / 'weights.pdparams'))
    np.savez(str(folder / 'outputs.npz'), images=images, **compute_outputs(model, images))


def reload(folder: Path, model: Any) -> None:
    """Load weights that have been to another library, strictly, and compare the outputs, bit by bit.

    Raises:
        ValueError: If a weight is missing or left over, or an output differs.
    """
    import paddle
    wanted = np.load(folder / 'outputs.npz')
    for value in model.state_dict().values():
        value.set_value(np.zeros(value.shape, 'float32'))
    missing, unexpected = model.set_state_dict(paddle.load(str(folder / 'back.pdparams')))
    outputs = compute_outputs(model, wanted['images'])
    different = [name for name, output in outputs.items() if not np.array_equal(output, wanted[name])]
    if missing or unexpected or different:
        raise ValueError(f'missing {missing}, unexpected {unexpected}, different {different}')


if __name__ == '__main__':
    what, folder, module, *numbers = sys.argv[1:]
    {'make': make, 'reload': reload}[what](Path(folder), build_model(module, *map(int, numbers)))
