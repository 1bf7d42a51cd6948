"""The page on parameters and multiply-adds: ``python -m res2net_mm.analysis.complexity`` prints docs/complexity.md.

Multiply-adds, which the paper calls FLOPs, are those of convolutions and linear layers at the given image size.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..models.complexity import count
from ..models.names import ARCHITECTURES, PublishedCost


@dataclass(frozen=True)
class CifarModel:
    """A CIFAR model of the paper, and what was published of it.

    Args:
        title (str): The paper's name, with splits.
        config (dict): The backbone.
        published (PublishedCost): What is printed about its cost. Defaults to nothing.
    """

    title: str
    config: dict[str, Any]
    published: PublishedCost = PublishedCost()


def _cifar(groups: int, base_width: int, scales: int, **arguments: Any) -> dict[str, Any]:
    return dict(type='res2net_mm.CifarRes2NeXt', groups=groups, base_width=base_width, scales=scales, **arguments)


RESNEXT, TABLE4 = 'ResNeXt paper', 'paper, Table 4'
SE_UNKNOWN = 'the paper does not say the reduction, and no single one gives its SE rows; 16 here'
IMAGENET = tuple(row for row in ARCHITECTURES if row.title)
CIFAR = (
    CifarModel('ResNeXt-29 8c×64w', _cifar(8, 64, 1), PublishedCost(
        '34.4', source=RESNEXT, note='with a 10-way classifier it is 34.369 M')),
    CifarModel('ResNeXt-29 16c×64w', _cifar(16, 64, 1), PublishedCost('68.1', source=RESNEXT)),
    CifarModel('Res2NeXt-29 6c×24w×4s', _cifar(6, 24, 4), PublishedCost('24.3', source=TABLE4)),
    CifarModel('Res2NeXt-29 8c×25w×4s', _cifar(8, 25, 4), PublishedCost('33.8', source=TABLE4)),
    CifarModel('Res2NeXt-29 6c×24w×6s', _cifar(6, 24, 6), PublishedCost('36.7', source=TABLE4)),
    CifarModel('Res2NeXt-29 6c×24w×4s, first_block=stage', _cifar(6, 24, 4, first_block='stage')),
    CifarModel('ResNeXt-29 8c×64w SE', _cifar(8, 64, 1, se_reduction=16), PublishedCost(
        '35.1', source=TABLE4, note=SE_UNKNOWN)),
    CifarModel('Res2NeXt-29 6c×24w×4s SE', _cifar(6, 24, 4, se_reduction=16), PublishedCost(
        '26.0', source=TABLE4, note=f'{SE_UNKNOWN}; 26.0 is likely a slip')),
    CifarModel('Res2NeXt-29 8c×25w×4s SE', _cifar(8, 25, 4, se_reduction=16), PublishedCost(
        '34.0', source=TABLE4, note=SE_UNKNOWN)),
    CifarModel('Res2NeXt-29 6c×24w×6s SE', _cifar(6, 24, 6, se_reduction=16), PublishedCost(
        '36.9', source=TABLE4, note=SE_UNKNOWN)),
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


def complexity_page() -> str:
    """Write docs/complexity.md."""
    imagenet, small = [], []
    for row in IMAGENET:
        cost = row.published
        params, macs = map(_counted, count(row.config, row.input_size), cost.unused, (1e6, 1e9))
        imagenet.append(f'| {row.title} | {row.input_size} | {cost.params} | {params} | {cost.macs} | {macs} | '
                        f'{cost.source} | {cost.note} |')
    for model in CIFAR:
        cost = model.published
        number, _ = count(model.config, 32, 100, norms=False)
        small.append(f'| {model.title} | {cost.params} | {number / 1e6:.3f} | {cost.source} | {cost.note} |')
    return PAGE.format(imagenet='\n'.join(imagenet), cifar='\n'.join(small))


def _counted(used: int, unused: int, unit: float) -> str:
    return f'{used / unit:.3f}' + (f' ({(used + unused) / unit:.3f})' if unused else '')


if __name__ == '__main__':
    print(complexity_page())
