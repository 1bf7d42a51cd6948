"""Effective receptive fields of the splits y_1 .. y_s of Res2Net's blocks: what "multi-scale" means, measured.

The paper says (section 3.1) that each split sees more than the one before it; by how much is not in it. After
*Understanding the Effective Receptive Field in Deep Convolutional Neural Networks*, arXiv 1701.04128, the field of a
split is drawn by the gradient of its central unit with respect to the image. Defined exactly:

* A split is the part of the input of a block's last convolution (``conv3``) that it fills; its central unit has the
  index h // 2, w // 2, and lies at the pixel index·stride.
* The energy of a pixel is Σ over the split's channels k and the image's channels c of (∂y_k / ∂x_c)². One backward
  pass with random signs on the channels has it as its expectation. Every input's energy is scaled to the sum 1; then
  the mean is taken over the inputs.
* The radius of a share is the smallest r such that the pixels at most r away, horizontally and vertically, from the
  centre hold this share of the energy.
* The theoretical radius is the distance of the farthest pixel that the unit depends on at all.
"""
import argparse
import copy
import json
import math
from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np
import torch
from mmengine.model import initialize
from mmengine.registry import MODELS, init_default_scope
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from ..checkpoints.layouts import CLASSIFIER
from ..checkpoints.loading import find_prefix, unwrap
from ..cli.arguments import device_argument
from ..cli.command import run_tool
from ..models.backbones.base import DEFAULT_INIT
from ..models.names import build_backbone
from ..models.pretrained import read_weights
from ..utils.images import find_images, read_image

SHARES = (0.5, 0.9, 0.95)  # of the energy, whose radii are reported
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of ImageNet, RGB: how photos are normalised
STRIPS = (128, 512, 2048, 8192)  # lengths of the images on which theoretical fields are looked for, until they fit


class Field(NamedTuple):
    """The receptive field of one split.

    Attributes:
        block (str): Name of the block in the backbone.
        split (int): 1 to s.
        centre (int): Row and column of the pixel that the unit is centred on.
        energy (np.ndarray): (size, size), with the sum 1; all zeros if the unit is dead for every input.
        theoretical (int | None): Theoretical radius in pixels; None if it is unbounded.
    """

    block: str
    split: int
    centre: int
    energy: np.ndarray
    theoretical: Optional[int]

    def radius(self, share):
        """int | None: Pixels within which ``share`` of the energy lies; None for a dead unit."""
        if not self.energy.any():
            return None
        distance = np.abs(np.arange(len(self.energy)) - self.centre)
        rings = np.bincount(np.maximum.outer(distance, distance).ravel(), weights=self.energy.ravel())
        return int(np.searchsorted(np.cumsum(rings), share))


def find_blocks(backbone):
    """The bottleneck blocks of a backbone by name: the modules that end with a convolution called ``conv3``.

    Raises:
        ValueError: If there is none.
    """
    blocks = {name: module for name, module in backbone.named_modules()
              if isinstance(getattr(module, 'conv3', None), _ConvNd)}
    if not blocks:
        raise ValueError(f'{type(backbone).__name__} has no bottleneck blocks (modules with a conv3), and so no splits')
    return blocks


def last_blocks(backbone):
    """Names of the last block of every stage; the stage is what a name begins with: layer3.5, level4.tree2.tree2."""
    return list({name.partition('.')[0]: name for name in find_blocks(backbone)}.values())


def count_splits(block):
    """How many splits a block has: 1 for a block of ResNet, which has no ``width``."""
    return block.conv3.in_channels // getattr(block, 'width', block.conv3.in_channels)


def splits_of(backbone, names, x):
    """Run a backbone and take the splits of some blocks.

    Returns:
        dict[str, tuple[Tensor]]: For each block its splits y_1 .. y_s, (n, w, h, w') each.
    """
    splits = {}

    def keep(name, count):
        return lambda conv3, inputs: splits.update({name: inputs[0].chunk(count, dim=1)})

    blocks = {name: backbone.get_submodule(name) for name in names}
    hooks = [block.conv3.register_forward_pre_hook(keep(name, count_splits(block))) for name, block in blocks.items()]
    try:
        backbone(x)
    finally:
        for hook in hooks:
            hook.remove()
    return splits


def measure(backbone, inputs, blocks=None, seed=0):
    """Measure receptive fields.

    Args:
        backbone (nn.Module): A backbone with bottleneck blocks; it is put into eval mode.
        inputs (Tensor): Images, (n, in_channels, size, size); the size is a multiple of the largest stride.
        blocks (Sequence[str] | None): Names of blocks. Defaults to None, the last one of every stage.
        seed (int): Of the random signs. Defaults to 0.

    Returns:
        list[Field]: For every block, its splits in order.

    Raises:
        ValueError: If there is no such block, or the size does not suit the strides.
    """
    known = find_blocks(backbone)
    blocks = blocks or last_blocks(backbone)
    unknown = [name for name in blocks if name not in known]
    if unknown:
        raise ValueError(f'--blocks: there is no block {", ".join(unknown)}; there are {", ".join(known)}')
    backbone.eval()  # those of some toolboxes return None
    backbone.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    theory = theoretical_radii(backbone, blocks, inputs.shape[1])

    energy, centres = {}, {}
    for x in inputs:
        x = x[None].requires_grad_()
        for name, splits in splits_of(backbone, blocks, x).items():
            for i, y in enumerate(splits):
                centres[name] = centre_of(y, x)
                unit = y[0, :, y.shape[2] // 2, y.shape[3] // 2]
                signs = torch.randint(2, unit.shape, generator=generator).to(unit) * 2 - 1
                gradient, = torch.autograd.grad((unit * signs).sum(), x, retain_graph=True)
                of_input = gradient[0].double().square().sum(0)
                total = of_input.sum()
                if total > 0:
                    energy[name, i] = energy.get((name, i), 0) + of_input.cpu().numpy() / total.item()
    size = inputs.shape[-1]
    fields = []
    for name in blocks:
        for i in range(count_splits(known[name])):
            of_split = energy.get((name, i), np.zeros((size, size)))
            fields.append(Field(name, i + 1, centres[name], of_split / max(of_split.sum(), 1e-300), theory[name][i]))
    return fields


def centre_of(y, x):
    """The row of the image that the central unit of y is centred on."""
    size, units = x.shape[2], y.shape[2]
    if size % units:
        raise ValueError(f'--size {size}: must be a multiple of the strides; a map of {units} units comes of it')
    return units // 2 * (size // units)


def theoretical_radii(backbone, blocks, in_channels):
    """The theoretical radius of every split: dict of a list of int, or None where the field is unbounded.

    A copy whose weights are all positive, and which averages where the network takes a maximum, has a gradient greater
    than zero exactly where there is a dependence. As kernels are square, a narrow image is enough to see how far that
    reaches.
    """
    positive = positive_copy(backbone)
    device = next(positive.parameters()).device
    radii = {}
    for length in STRIPS:
        x = torch.ones(1, in_channels, length, 32, dtype=torch.float64, device=device).requires_grad_()
        unfinished = [name for name in blocks if None in radii.get(name, [None])]
        for name, splits in splits_of(positive, unfinished, x).items():
            radii[name] = []
            for y in splits:
                gradient, = torch.autograd.grad(y[:, :, y.shape[2] // 2].sum(), x, retain_graph=True)
                reached = gradient.sum((0, 1, 3)).nonzero().flatten()
                bounded = reached[0] > 0 and reached[-1] < length - 1
                radii[name].append((reached - centre_of(y, x)).abs().max().item() if bounded else None)
    return radii


def positive_copy(backbone):
    copied = copy.deepcopy(backbone).double().requires_grad_(False)
    copied.eval()
    for module in list(copied.modules()):
        if isinstance(module, _ConvNd):
            module.weight.fill_(1 / module.weight[0].numel())  # sums would grow beyond all numbers with the depth
        elif isinstance(module, _BatchNorm):
            module.reset_running_stats()
            nn.init.ones_(module.weight)
        if getattr(module, 'bias', None) is not None:
            nn.init.zeros_(module.bias)
        for name, child in module.named_children():
            if isinstance(child, nn.MaxPool2d):
                setattr(module, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode))
    return copied


def calibrate(backbone, inputs):
    """Give the batch norms of random weights the statistics of the inputs, as they would have in training."""
    norms = [module for module in backbone.modules() if isinstance(module, _BatchNorm)]
    backbone.eval()
    momenta = [module.momentum for module in norms]
    for module in norms:
        module.reset_running_stats()
        module.momentum = None  # the mean over all that is seen
        module.train()
    with torch.no_grad():
        backbone(inputs)
    for module, momentum in zip(norms, momenta):
        module.momentum = momentum
    backbone.eval()


def random_weights(backbone):
    initialize(backbone, DEFAULT_INIT)  # as init_weights does, without a line in the log for every weight
    return backbone


def build_from_config(config, checkpoint=None):
    """Build the backbone of a config, with random weights or those of a checkpoint (of the backbone or a model)."""
    from ..utils.config import load_config
    cfg = load_config(config)
    if 'backbone' not in cfg.get('model', {}):
        raise ValueError(f"--config: '{config}' has no model.backbone")
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    settings = cfg.model.backbone.copy()
    settings.init_cfg = None  # no download for weights that are replaced
    # Batch norms that synchronise run in no training mode on a CPU.
    if settings.get('norm_cfg', {}).get('type') == 'SyncBN':
        settings.norm_cfg = dict(settings.norm_cfg, type='BN')
    backbone = MODELS.build(settings)
    if checkpoint is None:
        return random_weights(backbone)
    state, _ = unwrap(read_weights(checkpoint))
    prefix = find_prefix(state)
    state = {key[len(prefix):]: value for key, value in state.items() if key.startswith(prefix)}
    try:
        backbone.load_state_dict({key: value for key, value in state.items() if not CLASSIFIER.match(key)})
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"checkpoint '{checkpoint}' does not fit the backbone of '{config}': {error}") from error
    return backbone


def photo_inputs(paths, size):
    """Photos as inputs: the largest square in the middle, (n, 3, size, size) RGB as ImageNet's models take it."""
    import mmcv
    inputs = []
    for path in paths:
        photo = read_image(path)
        side = min(photo.shape[:2])
        top, left = ((length - side) // 2 for length in photo.shape[:2])
        square = mmcv.imresize(photo[top:top + side, left:left + side], (size, size))
        inputs.append(torch.from_numpy(mmcv.imnormalize(square, np.array(MEAN), np.array(STD))).permute(2, 0, 1))
    return torch.stack(inputs)


def numbers(fields):
    """The fields as numbers for JSON: block -> [{split, radius: {'50': pixels, ..}, theoretical}]."""
    blocks = {}
    for field in fields:
        radii = {f'{share:.0%}'[:-1]: field.radius(share) for share in SHARES}
        blocks.setdefault(field.block, []).append(
            dict(split=field.split, radius=radii, theoretical=field.theoretical))
    return blocks


def main(argv=None):
    """Measure receptive fields: the command ``tools/analysis_tools/receptive_field.py``."""
    parser = argparse.ArgumentParser(
        description="Measure and draw the effective receptive fields of the splits of Res2Net's blocks.")
    parser.add_argument('archs', nargs='*', metavar='ARCH',
                        help='presets, with random weights (resnet50 and res2net50_26w4s, unless --config is given)')
    parser.add_argument('--config', nargs='+', action='append', default=[], metavar=('CONFIG', 'CHECKPOINT'),
                        help='the backbone of a config; random weights without CHECKPOINT. May be repeated')
    parser.add_argument('--images', nargs='+', metavar='PATH',
                        help='photos, or folders of them, as inputs instead of noise')
    parser.add_argument('--inputs', type=int, default=8, metavar='N',
                        help='images of Gaussian noise to take the mean over (8)')
    parser.add_argument('--size', type=int, default=448,
                        help='side of the square inputs in pixels, a multiple of 32 (448)')
    parser.add_argument('--blocks', nargs='+', metavar='NAME',
                        help='blocks such as layer3.0 (the last one of every stage)')
    parser.add_argument('--seed', type=int, default=0, help='of weights, noise and signs (0)')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/receptive_field'), metavar='DIR',
                        help='where results go (work_dirs/receptive_field)')
    device_argument(parser)
    run_tool(run, parser.parse_args(argv))


def run(args, device):
    if args.size < 32 or args.size % 32:
        raise ValueError(f'--size {args.size}: must be a positive multiple of 32')
    if args.inputs < 1:
        raise ValueError(f'--inputs {args.inputs}: must be at least 1')
    wrong = [given for given in args.config if len(given) > 2]
    if wrong:
        raise ValueError(f'--config takes a config and at most one checkpoint, not {" ".join(wrong[0])}')
    torch.manual_seed(args.seed)
    photos = find_images(args.images) if args.images else []
    inputs = photo_inputs(photos, args.size) if photos else torch.randn(args.inputs, 3, args.size, args.size)
    archs = args.archs or ([] if args.config else ['resnet50', 'res2net50_26w4s'])
    models = [(arch, lambda name: random_weights(build_backbone(name)), [arch]) for arch in archs]
    models += [(Path(given[0].rpartition('::')[2]).stem, build_from_config, given) for given in args.config]

    args.out.mkdir(parents=True, exist_ok=True)
    used = [str(path) for path in photos] or f'{args.inputs} of Gaussian noise'
    results = dict(size=args.size, seed=args.seed, inputs=used, models={})
    for name, build, given in models:
        torch.manual_seed(args.seed)
        backbone = build(*given).to(device)
        random = len(given) == 1
        if random:
            calibrate(backbone, inputs.to(device))
        fields = measure(backbone, inputs.to(device), args.blocks, args.seed)
        results['models'][name] = dict(weights='random' if random else given[1], blocks=numbers(fields))
        sheet = args.out / f'{name.replace("/", "_")}.png'
        draw(fields, f'{name}, {"random weights" if random else Path(given[1]).name}', sheet, inputs if photos else ())
        print_table(name, fields)
        print(f'drawn in {sheet}')
    path = args.out / 'receptive_field.json'
    path.write_text(json.dumps(results, indent=1))
    print(f'numbers in {path}')


def print_table(name, fields):
    from rich.console import Console
    from rich.table import Table
    table = Table(title=f'{name}: radius in pixels that holds a share of the energy')
    for head in ('block', 'split', *(f'{share:.0%}' for share in SHARES), 'theoretical'):
        table.add_column(head, justify='left' if head == 'block' else 'right')
    for field in fields:
        radii = [field.radius(share) for share in SHARES]
        table.add_row(field.block, f'y_{field.split}', *('dead' if r is None else str(r) for r in radii),
                      'all' if field.theoretical is None else str(field.theoretical))
    Console().print(table)


def draw(fields, title, path, photos=()):
    """Draw a sheet: a row for each block, a column for each split, and before them the photos with the splits' fields.

    Args:
        fields (list[Field]): As ``measure`` returns them.
        title (str): What stands above.
        path (str | Path): The picture to write.
        photos (Sequence[Tensor]): Inputs as ``photo_inputs`` makes them; the first two are shown. Defaults to none.
    """
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt
    from matplotlib.patches import Rectangle

    def square(axis, radius, **style):
        if radius is not None:
            axis.add_patch(Rectangle((-radius - .5, -radius - .5), 2 * radius + 1, 2 * radius + 1, fill=False, **style))

    photos = [np.clip(photo.permute(1, 2, 0).numpy() * STD + MEAN, 0, 255).astype(np.uint8) for photo in photos[:2]]
    rows = {}
    for field in fields:
        rows.setdefault(field.block, []).append(field)
    columns = len(photos) + max(map(len, rows.values()))
    figure, axes = plt.subplots(len(rows), columns, figsize=(2.4 * columns, 2.45 * len(rows) + 0.6), squeeze=False,
                                layout='constrained')
    for axis in axes.flat:
        axis.set_visible(False)
    for row, (block, splits) in zip(axes, rows.items()):
        size, centre = len(splits[0].energy), splits[0].centre
        extent = (-centre - .5, size - centre - .5, size - centre - .5, -centre - .5)
        reach = [size // 2 if field.theoretical is None else field.theoretical for field in splits]
        half = min(size // 2, math.ceil(1.05 * max(reach)))
        colours = plt.cm.cool(np.linspace(0, 1, len(splits)))
        for axis, picture in zip(row, photos):
            axis.imshow(picture, extent=extent)
            for field, colour in zip(splits, colours):
                square(axis, field.radius(.9), color=colour, linewidth=1.5)
            axis.set_title('90 % of each split', fontsize=8)
        for axis, field, colour in zip(row[len(photos):], splits, colours):
            peak = field.energy.max() or 1
            axis.imshow(np.log10(np.maximum(field.energy / peak, 1e-6)), extent=extent, cmap='magma', vmin=-5, vmax=0,
                        interpolation='nearest')
            square(axis, field.radius(.9), color=colour, linewidth=1.5)
            square(axis, field.theoretical, color='white', linewidth=1, linestyle=':')
            limit = 'the image' if field.theoretical is None else field.theoretical
            axis.set_title(f'y_{field.split}: 90 % within {field.radius(.9)}, all within {limit}', fontsize=8)
        for axis in row[:len(photos) + len(splits)]:
            low, high = max(-half, extent[0]), min(half, extent[1])
            axis.set(visible=True, xlim=(low, high), ylim=(high, low))
            axis.tick_params(labelsize=7)
        row[0].set_ylabel(block)
    figure.suptitle(f'{title}: energy of the gradient, log scale over 5 decades; pixels from the centre\n'
                    'solid: 90 % of the energy, dotted: theoretical field', fontsize=9)
    figure.savefig(path, dpi=110)
    plt.close(figure)
