"""The page on public weights: ``python -m res2net_mm.analysis.weights_page`` prints docs/weights.md."""
from __future__ import annotations

from typing import Sequence

from ..checkpoints.weights import Preprocessing, WeightFile, Weights
from ..models import public_weights as table
from ..models.names import ARCHITECTURES, RES2NET_ARGUMENTS, Architecture, normalise_name, resolve
from ..models.pretrained import CIFAR_MODELS
from ..models.public_weights import BY_HAND, WEIGHTS
from ..utils.text import markdown_table

PAGE = """# Public weights

<!-- python -m res2net_mm.analysis.weights_page > docs/weights.md -->

`init_cfg=dict(type='Pretrained', checkpoint='res2net_mm://NAME')` takes any of these names. Those of whole models are
for `load_from` and `tools/test.py`, too. A file in the folder `RES2NET_MM_WEIGHTS` comes first, then the cache, then
the hosts, in the order given under [Files](#files).

All facts here are what the [sources](#sources) publish. Nothing was downloaded to write this page: neither that a file
is at its address nor that it has the accuracy is verified. What is verified, on random weights, is that the keys and
shapes of the publisher's model fit, and that ours computes the same: the parity tests.

*Function* is the backbone's `stage_pool` that the weights were trained as ([Design](design.md#the-function)). A
backbone of another function takes them, with a warning in the log. *Licence* is a letter of the
[list below](#licences).

## ImageNet: the authors

Errors in %, top-1 / top-5: *authors* is what the authors of Res2Net publish, *timm* what timm has measured with the
same weights.

{authors_images}

{authors}

## ImageNet: the authors' weights, converted by OpenMMLab

The keys are those of mmpretrain's and mmdet's `Res2Net`. Accuracies in %, top-1 / top-5, by mmpretrain.

{openmmlab_images}

{openmmlab}

## ImageNet: Paddle

PaddleClas has trained Res2Net anew, as a function of its own: the first block of a stage is an ordinary one where it
has no stride. `vd` are the deep stem and the average pooling of v1b. Accuracies in %, top-1 / top-5, by PaddleClas;
*quoted* is an error in the README of Res2Net's authors. The resizing is OpenCV's. The files are
pickles, of which only the arrays are read.

{paddle_images}

{paddle}

## Detectors

Average precision in % on COCO val2017, box / mask, by mmdet. The config of the same name builds the model:

    python tools/test.py configs/detection/htc_r2n101_v1b_coco.py res2net_mm://htc_r2n101_v1b_coco --data-root DIR

{detectors_images}

{detectors}

## To be fetched by hand

No host gives these to a program. Fetch them with a browser, and put them as `NAME.pth` into the folder that
`RES2NET_MM_WEIGHTS` names; then `res2net_mm://NAME` loads them. None of these links was tried. Average precision in %
on COCO val2017 and on test-dev, by the publisher.

{by_hand}

{pages}

## Files

The files of one name hold the same weights. Hosts are asked in this order; of a download the bytes are counted, and the
SHA-256 is compared as far as it is given here. Eight digits are those at the end of a file's name: 32 bits find damage,
and are no protection against a forgery.

{files}

`download.openmmlab.com`, where OpenMMLab published its weights, is not asked. Its certificate ran out in August 2025
(mmdetection, issue 12396), and the name itself in June 2026 (mmdetection, issue 12445). Whoever registers it may answer
with any file, and eight digits of a hash can be forged. OneDL, who keep the toolboxes up, have OpenMMLab's files under
the same paths at `mmassets.onedl.ai`, and at the address of their bucket (`r2.dev`). A toolbox's own config that says
`open-mmlab://...` goes wherever the installed mmengine sends it; the Res2Net configs of this project say
`res2net_mm://...`.

## Licences

As the publishers state them:

{licences}

The authors allow non-commercial use, and the word of a mirror or a converter does not change that.

## Sources

* The authors: README of [Res2Net-PretrainedModels](https://github.com/Res2Net/Res2Net-PretrainedModels).
* timm 1.0.31: `default_cfgs` (images), `results/results-imagenet.csv` (errors; in other versions of that file they
  differ by up to 0.03), the model index in its documentation (sizes), and the cards `timm/*.in1k` on the hub (licence,
  one SHA-256).
* OpenMMLab: the metafiles of mmpretrain and mmdet, and mmengine's lists of weights, in onedl-mmpretrain 1.3.6,
  onedl-mmdetection 3.5.1 and onedl-mmengine 0.10.12. The last metafile of mmdet still names the dead host; OneDL's
  READMEs of both list the same files, the detectors, too, at the address of the bucket.
* Paddle: `PaddleClas/ppcls/arch/backbone/model_zoo/res2net.py` and `res2net_vd.py` (addresses, function),
  `PaddleClas/ppcls/configs/ImageNet/Res2Net` (images) and `PaddleClas/docs/en/models/SEResNext_and_Res2Net_en.md`
  (accuracies).
* VFNet: README of [VarifocalNet](https://github.com/hyz-xmaster/VarifocalNet).

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
LETTERS = dict(zip(dict.fromkeys(weights.licence for weights in (*WEIGHTS, *BY_HAND)), 'abcdefgh'))


def weights_page() -> str:
    """Write docs/weights.md."""
    authors, openmmlab, paddle, detectors = (
        [weights for weights in WEIGHTS if weights.licence == licence]
        for licence in (table.AUTHORS_LICENCE, table.CONVERTED_LICENCE, table.PADDLE_LICENCE, table.DETECTOR_LICENCE))
    unpublished = [*(row.unpublished for row in ARCHITECTURES if row.unpublished), CIFAR_MODELS]
    return PAGE.format(
        authors=_group(authors, authors=2, timm=3), authors_images=_images(authors),
        openmmlab=_group(openmmlab, mmpretrain=2), openmmlab_images=_images(openmmlab),
        paddle=_group(paddle, PaddleClas=1, quoted=2), paddle_images=_images(paddle),
        detectors=_group(detectors, mmdet=1), detectors_images=_images(detectors),
        by_hand=_group(BY_HAND, val2017=1, **{'test-dev': 1}),
        pages='\n'.join(f'* `{weights.name}`: <{weights.page}>' for weights in BY_HAND),
        files=markdown_table(('name', 'files'), [(f'`{weights.name}`', '<br>'.join(map(_file, weights.files)))
                                         for weights in WEIGHTS]),
        licences='\n'.join(f'* {letter}: {licence}.' for licence, letter in LETTERS.items()),
        aliases='\n'.join(f'| `{alias}` | `{name}` |' for alias, name in _aliases()),
        absent='\n'.join(f'* {text}' for text in unpublished))


def _group(rows: Sequence[Weights], **digits: int) -> str:
    """The table of some weights; each name of ``digits`` is the column of an accuracy, with as many decimals."""
    columns = ('name', 'backbone', 'function', 'licence', *digits, 'remark')
    lines = []
    for weights in rows:
        published = [' / '.join(f'{value:.{places}f}' for value in accuracy.values)
                     for accuracy, places in zip(weights.accuracies, digits.values())]
        published += [''] * (len(digits) - len(published))
        lines.append((f'`{weights.name}`', _differing(resolve(weights.architecture)), f'`{weights.stage_pool}`',
                      LETTERS[weights.licence], *published, weights.note))
    return markdown_table(columns, lines)


def _file(file: WeightFile) -> str:
    """A file of the list of files."""
    facts = [f'{file.size} bytes'] if file.size else []
    facts.append(f'SHA-256 {file.sha256}' if file.sha256 else 'SHA-256 not published')
    return f'[{file.url.split("/")[2]}: {file.name}]({file.url}), {", ".join(facts)}'


def _images(rows: Sequence[Weights]) -> str:
    """How the images of some weights were prepared, all of them alike."""
    images, = {weights.preprocessing for weights in rows}
    usual = Preprocessing()
    values = 'mean and standard deviation of ImageNet' if (images.mean, images.std) == (usual.mean, usual.std) else (
        f'mean {images.mean}, standard deviation {images.std}')
    size = (f'centre crop of {images.input_size}²' if images.input_size <= images.resize
            else f'the longer at most {images.input_size}')
    return f'Images: shorter side {images.resize}, {images.interpolation}, {size}, {images.channels}, {values}.'


def _differing(row: Architecture) -> str:
    """The arguments that make a variant, as text."""
    if row.type == 'res2net_mm.DLA':
        groups = f'{row.arguments["groups"]}c×' if row.arguments['groups'] > 1 else ''
        return f'a DLA, {groups}{row.arguments["base_width"]}w×{row.arguments["scales"]}s'
    differing = [f'{name}={value}' for name, value in row.arguments.items()
                 if name != 'stage_pool' and value != RES2NET_ARGUMENTS[name]]
    return ', '.join(differing) or 'the defaults'


def _aliases() -> list[tuple[str, str]]:
    """Further names of weights, and the names that they mean."""
    known = {weights.name: weights for weights in (*WEIGHTS, *BY_HAND)}
    of_architectures = [(alias, row.name) for row in ARCHITECTURES if row.name in known for alias in row.aliases]
    of_weights = [(alias, weights.name) for weights in known.values() for alias in weights.aliases]
    return [(alias, name) for alias, name in (*of_architectures, *of_weights)
            if normalise_name(alias) != normalise_name(name)]


if __name__ == '__main__':
    print(weights_page())
