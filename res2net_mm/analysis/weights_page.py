"""The page on public weights: ``python -m res2net_mm.analysis.weights_page`` prints docs/weights.md."""
from __future__ import annotations

from ..checkpoints.hub import LICENCES, digest, file_name
from ..models.names import ARCHITECTURES, RES2NET_ARGUMENTS, Architecture, normalise_name
from ..models.pretrained import CIFAR_MODELS, public_weights

PAGE = """# Public weights

<!-- python -m res2net_mm.analysis.weights_page > docs/weights.md -->

`init_cfg=dict(type='Pretrained', checkpoint='res2net_mm://NAME')` takes any of these names. A file in the folder
`RES2NET_MM_WEIGHTS` comes first, then torch hub's cache, then the hosts in the order given here. All are ImageNet-1k
weights, trained with the pooling of `stage_pool='always'`.

Errors are in %, for one centre crop of 224². *Authors* is what the authors of Res2Net publish, *timm* what timm has
measured with the same weights, *mmpretrain* 100 minus the accuracy that mmpretrain publishes. We have measured none of
them. For 26w8s timm's results differ from the others, and from timm's own model index (20.81 / 5.63): there may be two
releases of these weights.

| name | backbone | top-1 / top-5, authors | timm | mmpretrain |
|---|---|---|---|---|
{errors}

| name | file | bytes | SHA-256 begins | licence as stated |
|---|---|---|---|---|
{files}

The SHA-256 is checked after a download. Sizes are those of timm's model index; the others are not published. Whatever a
mirror says, the weights are the authors', who publish them for non-commercial use.

## Images of other channels

The weights are for RGB images. `adapt_in_channels=True` has them adapted to another `in_channels`; without it they are
refused:

```python
backbone = dict(
    type='res2net_mm.Res2Net', in_channels=4,
    init_cfg=dict(type='Pretrained', checkpoint='res2net_mm://res2net50_26w4s', adapt_in_channels=True))
```

The first convolution alone changes, to what timm makes of it with `in_chans`: for one channel its weights are summed;
for more they are repeated in the order R, G, B, R, ..., cut off after the last channel, and scaled by 3 over
`in_channels`. Weights for grey images (1 channel) are repeated likewise. Weights for as many channels as the model has
are loaded as they are, so the option may stay for testing and resuming, and it holds for `load_from`, too. A model
without such an `init_cfg` takes a converted file:

    python tools/model_converters/convert_checkpoint.py DETECTOR.pth DETECTOR_4.pth --to res2net_mm --in-channels 4

The weights' order is R, G, B. The toolboxes read images as B, G, R, and turn three channels round in the
`data_preprocessor` (`bgr_to_rgb=True`, in mmpretrain `to_rgb=True`), but no other number: there mmdet and mmpose drop
all but the first three, mmseg and mmpretrain leave the order. So bring the channels into the order R, G, B, others, in
a transform of your own, and set `bgr_to_rgb=False`. A further channel starts with the weights of red, green or blue, in
turn.

Normalise so that every channel has a mean near 0 and a deviation near 1. One value for all channels stands in the
`data_preprocessor`, as for grey images `mean=[114.5], std=[57.4]`. Four or more values are refused there by mmdet,
mmseg and mmpose; they belong into a transform before the last one of each pipeline, with `mean=None, std=None` in the
`data_preprocessor`:

```python
dict(type='Normalize', mean=[123.675, 116.28, 103.53, 90.0], std=[58.395, 57.12, 57.375, 45.0], to_rgb=False)
```

The first three are those of ImageNet, the fourth is that of your data.

## Other names

Case, hyphens and underscores do not matter: `Res2Net-50-26w-4s` and `res2net50_26w_4s` are `res2net50_26w4s`.

| name | means |
|---|---|
{aliases}

## Not public

The paper reports these, and their weights were never published. Your own, as `NAME.pth` in `RES2NET_MM_WEIGHTS`, serve
`res2net_mm://NAME` (`res2net50_18w6s.pth`):

{absent}"""


def weights_page() -> str:
    """Write docs/weights.md."""
    errors, files = [], []
    for name, row, weights in public_weights():
        cells = (f'`{name}`', _differing(row), _percent(weights.authors, 2), _percent(weights.timm, 3),
                 _percent(weights.openmmlab, 2))
        errors.append(f'| {" | ".join(cells)} |')
        for url in weights.urls:
            host = url.split('/')[2]
            size = str(weights.size) if weights.size and url.endswith('.pth') else ''
            cells = f'`{name}`', f'[{file_name(url)}]({url})', size, digest(url) or 'not published', LICENCES[host]
            files.append(f'| {" | ".join(cells)} |')
    aliases = [f'| `{alias}` | `{row.name}` |' for row in ARCHITECTURES if row.weights for alias in row.aliases
               if normalise_name(alias) != normalise_name(row.name)]
    unpublished = [*(row.unpublished for row in ARCHITECTURES if row.unpublished), CIFAR_MODELS]
    return PAGE.format(errors='\n'.join(errors), files='\n'.join(files), aliases='\n'.join(aliases),
                       absent='\n'.join(f'* {text}' for text in unpublished))


def _differing(row: Architecture) -> str:
    """The arguments that make a variant, as text."""
    if row.type == 'res2net_mm.DLA':
        groups = f'{row.arguments["groups"]}c×' if row.arguments['groups'] > 1 else ''
        return f'a DLA, {groups}{row.arguments["base_width"]}w×{row.arguments["scales"]}s'
    differing = [f'{name}={value}' for name, value in row.arguments.items() if value != RES2NET_ARGUMENTS[name]]
    return ', '.join(differing) or 'the defaults'


def _percent(errors: tuple[float, float] | None, digits: int) -> str:
    return ' / '.join(f'{error:.{digits}f}' for error in errors or ())


if __name__ == '__main__':
    print(weights_page())
