"""Parameters and multiply-adds, counted as the paper does.

``python -m res2net_mm.analysis.complexity`` prints docs/complexity.md. Multiply-adds, which the paper calls FLOPs, are
those of convolutions and linear layers at the given image size.
"""
from typing import NamedTuple

from ..models.complexity import count


class Row(NamedTuple):
    """A model of the paper, and what was published of it."""

    model: str
    backbone: dict
    params: str = ''  # in millions
    macs: str = ''  # in billions, at image_size
    source: str = ''
    image_size: int = 224
    unused: tuple = (0, 0)  # parameters and multiply-adds of layers that the published model has, and never uses
    note: str = ''


def res2net(arch):
    return dict(type='res2net_mm.Res2Net', arch=arch)


def dla(arch):
    return dict(type='res2net_mm.DLA', arch=arch)


def cifar(groups, base_width, scales, **arguments):
    return dict(type='res2net_mm.CifarRes2NeXt', groups=groups, base_width=base_width, scales=scales, **arguments)


README, BIG_LITTLE = 'official README', 'Big-Little README'
NOT_25M = 'the paper says that all models of Table 1 have about 25 M and 4.2 G, which does not hold for this one'
# DLA's projections of level3, level4 and level4.tree1: 1×1 to 256, 512 and 512 channels, and their norms.
UNUSED = (128 * 256 + 2 * 256 + 2 * (256 * 512 + 2 * 512), 128 * 256 * 28**2 + 2 * 256 * 512 * 14**2)
IMAGENET = (
    Row('Res2Net-50 48w×2s', res2net('res2net50_48w2s'), '25.29', '4.2', README),
    Row('Res2Net-50 26w×4s', res2net('res2net50_26w4s'), '25.70', '4.2', README, note='4.255 G is printed as 4.2'),
    Row('Res2Net-50 14w×8s', res2net('res2net50_14w8s'), '25.06', '4.2', README),
    Row('Res2Net-50 26w×6s', res2net('res2net50_26w6s'), '37.05', '6.3', README),
    Row('Res2Net-50 26w×8s', res2net('res2net50_26w8s'), '48.40', '8.3', README),
    Row('Res2Net-101 26w×4s', res2net('res2net101_26w4s'), '45.21', '8.1', README),
    Row('Res2NeXt-50 8c×4w×4s', res2net('res2next50_8c4w4s'), '24.67', '4.2', README),
    Row('Res2Net-v1b-50', res2net('res2net50_v1b_26w4s'), '25.72', '4.5', README),
    Row('Res2Net-v1b-101', res2net('res2net101_v1b_26w4s'), '45.23', '8.3', README),
    Row('Res2Net-50 18w×6s', res2net('res2net50_18w6s')),
    Row('Res2Net-50-L 18w×4s', res2net('res2net50_18w4s'), '', '2.9', 'paper, Table 3'),
    Row('Res2Net-50-299', res2net('res2net50_26w4s'), image_size=299),
    Row('SE-Res2Net-50', res2net('se_res2net50_26w4s'), note='the paper does not say the reduction; 16, as in SENet'),
    Row('ResNet-50', res2net('resnet50'), '', '4.2', 'paper, Table 3', note='4.089 G here and in torchvision'),
    Row('ResNeXt-50 32x4d', res2net('resnext50_32x4d')),
    Row('SENet-50', res2net('se_resnet50')),
    Row('Res2Net-DLA-60', dla('dla60_res2net'), '21.15', '4.2', README, unused=UNUSED, note=NOT_25M),
    Row('Res2NeXt-DLA-60', dla('dla60_res2next'), '17.33', '3.6', README, unused=UNUSED, note=NOT_25M),
    Row('DLA-60', dla('dla60'), unused=UNUSED),
    Row('DLA-X-60', dla('dla60x'), unused=UNUSED),
    Row('bLRes2Net-50', dict(type='res2net_mm.BLRes2Net'), note=f'the paper gives no details; {NOT_25M}'),
    Row('bLResNet-50', dict(type='res2net_mm.BLRes2Net', scales=1, base_width=64), '', '2.85', BIG_LITTLE),
)
RESNEXT, TABLE4 = 'ResNeXt paper', 'paper, Table 4'
SE_UNKNOWN = 'the paper does not say the reduction, and no single one gives its SE rows; 16 here'
CIFAR = (
    Row('ResNeXt-29 8c×64w', cifar(8, 64, 1), '34.4', '', RESNEXT, note='with a 10-way classifier it is 34.369 M'),
    Row('ResNeXt-29 16c×64w', cifar(16, 64, 1), '68.1', '', RESNEXT),
    Row('Res2NeXt-29 6c×24w×4s', cifar(6, 24, 4), '24.3', '', TABLE4),
    Row('Res2NeXt-29 8c×25w×4s', cifar(8, 25, 4), '33.8', '', TABLE4),
    Row('Res2NeXt-29 6c×24w×6s', cifar(6, 24, 6), '36.7', '', TABLE4),
    Row('Res2NeXt-29 6c×24w×4s, first_block=stage', cifar(6, 24, 4, first_block='stage')),
    Row('ResNeXt-29 8c×64w SE', cifar(8, 64, 1, se_reduction=16), '35.1', '', TABLE4, note=SE_UNKNOWN),
    Row('Res2NeXt-29 6c×24w×4s SE', cifar(6, 24, 4, se_reduction=16), '26.0', '', TABLE4,
        note=f'{SE_UNKNOWN}; 26.0 is likely a slip'),
    Row('Res2NeXt-29 8c×25w×4s SE', cifar(8, 25, 4, se_reduction=16), '34.0', '', TABLE4, note=SE_UNKNOWN),
    Row('Res2NeXt-29 6c×24w×6s SE', cifar(6, 24, 6, se_reduction=16), '36.9', '', TABLE4, note=SE_UNKNOWN),
)


PAGE = """# Parameters and multiply-adds

<!-- python -m res2net_mm.analysis.complexity > docs/complexity.md -->

*Published* is what the source prints, *counted* what `python -m res2net_mm.analysis.complexity` counts here.
Multiply-adds are what the paper calls FLOPs. The official DLA models hold projections whose result nothing uses: they
are not built here, and the figure with them is in brackets.

## ImageNet, 1000 classes

| model | image | M params, published | counted | G multiply-adds, published | counted | source | |
|---|---|---|---|---|---|---|---|
{imagenet}

## CIFAR-100

Parameters of convolutions and classifier; the published figures do not count those of batch norms.

| model | M params, published | counted | source | |
|---|---|---|---|---|
{cifar}"""


def page():
    """Return docs/complexity.md."""

    def counted(used, unused, unit):
        return f'{used / unit:.3f}' + (f' ({(used + unused) / unit:.3f})' if unused else '')

    imagenet, small = [], []
    for row in IMAGENET:
        params, macs = map(counted, count(row.backbone, row.image_size), row.unused, (1e6, 1e9))
        imagenet.append(f'| {row.model} | {row.image_size} | {row.params} | {params} | {row.macs} | {macs} | '
                        f'{row.source} | {row.note} |')
    for row in CIFAR:
        params, _ = count(row.backbone, 32, 100, norms=False)
        small.append(f'| {row.model} | {row.params} | {params / 1e6:.3f} | {row.source} | {row.note} |')
    return PAGE.format(imagenet='\n'.join(imagenet), cifar='\n'.join(small))


if __name__ == '__main__':
    print(page())
