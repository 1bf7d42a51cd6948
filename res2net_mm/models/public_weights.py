"""The table of public weights: ``res2net_mm://NAME`` loads them, docs/weights.md lists them.

Hosts are asked in the order of trust: the hub, whose file has a full SHA-256 as its ETag, OpenMMLab's living mirror,
the authors' own bucket and timm's release of the same files.
"""
from __future__ import annotations

from ..checkpoints.weights import Accuracy, WeightFile, Weights, hashed_file

OFFICIAL = 'https://shanghuagao.oss-cn-beijing.aliyuncs.com/res2net/'
TIMM = 'https://github.com/huggingface/pytorch-image-models/releases/download/v0.1-res2net/'
HUB = 'https://huggingface.co/timm/{}.in1k/resolve/main/model.safetensors'
ONEDL = 'https://mmassets.onedl.ai/'

AUTHORS_LICENCE = 'CC BY-NC-SA 4.0, by the authors'
CONVERTED_LICENCE = "none stated; converted from the authors'"
ERRORS, CENTRE_CROP = 'top-1 / top-5 error, %', 'one centre crop of 224²'
CLASSIFICATION = 'mmclassification/v0/res2net/'


def _authors(architecture: str, file: str, hub: str, size: int | None, authors: tuple[float, float],
             timm: tuple[float, float], hosts: tuple[str, ...] = (OFFICIAL, TIMM)) -> Weights:
    """Weights of the authors: their file, the same file beside timm's code, and timm's copy in safetensors."""
    files = (*(hashed_file(host + file, size) for host in hosts), WeightFile(HUB.format(hub)))
    return Weights(architecture, architecture, files, AUTHORS_LICENCE,
                   (Accuracy(ERRORS, authors, 'the authors', CENTRE_CROP), Accuracy(ERRORS, timm, 'timm', CENTRE_CROP)))


def _converted(name: str, architecture: str, path: str, errors: tuple[float, float] | None = None) -> Weights:
    """The authors' weights as OpenMMLab has converted them."""
    accuracies = (Accuracy(ERRORS, errors, 'mmpretrain', CENTRE_CROP), ) if errors else ()
    return Weights(name, architecture, (hashed_file(ONEDL + path), ), CONVERTED_LICENCE, accuracies)


WEIGHTS = (
    _authors('res2net50_48w2s', 'res2net50_48w_2s-afed724a.pth',
             'res2net50_48w_2s', 101421406, (22.68, 6.47), (22.472, 6.438)),
    _authors('res2net50_26w4s', 'res2net50_26w_4s-06e79181.pth',
             'res2net50_26w_4s', 103110087, (22.01, 6.15), (22.006, 6.14)),
    _authors('res2net50_14w8s', 'res2net50_14w_8s-6527dddc.pth',
             'res2net50_14w_8s', 100638543, (21.86, 6.14), (21.858, 6.148)),
    _authors('res2net50_26w6s', 'res2net50_26w_6s-19041792.pth',
             'res2net50_26w_6s', 148603239, (21.42, 5.87), (21.414, 5.88)),
    _authors('res2net50_26w8s', 'res2net50_26w_8s-2c7c9f12.pth',
             'res2net50_26w_8s', 194085165, (20.8, 5.63), (21.05, 5.72)),
    _authors('res2net101_26w4s', 'res2net101_26w_4s-02a759a1.pth',
             'res2net101_26w_4s', 181456059, (20.81, 5.57), (20.808, 5.534)),
    _authors('res2next50_8c4w4s', 'res2next50_4s-6ef7e7bf.pth', 'res2next50', 99019592, (21.76, 6.09), (21.762, 6.096)),
    _authors('res2net50_v1b_26w4s', 'res2net50_v1b_26w_4s-3cf99910.pth',
             'res2net50d', None, (19.73, 4.96), (19.72, 4.972), hosts=(OFFICIAL, )),
    _authors('res2net101_v1b_26w4s', 'res2net101_v1b_26w_4s-0812c246.pth',
             'res2net101d', None, (18.77, 4.64), (18.764, 4.654), hosts=(OFFICIAL, )),
    _authors('dla60_res2net', 'res2net_dla60_4s-d88db7f9.pth',
             'dla60_res2net', 84886593, (21.53, 5.8), (21.52, 5.796), hosts=(TIMM, )),
    _authors('dla60_res2next', 'res2next_dla60_4s-d327927b.pth',
             'dla60_res2next', 69639245, (21.55, 5.86), (21.512, 5.856), hosts=(TIMM, )),
    _converted('res2net50-w14-s8_3rdparty_8xb32_in1k', 'res2net50_14w8s',
               f'{CLASSIFICATION}res2net50-w14-s8_3rdparty_8xb32_in1k_20210927-bc967bf1.pth', (21.86, 6.15)),
    _converted('res2net50-w26-s8_3rdparty_8xb32_in1k', 'res2net50_26w8s',
               f'{CLASSIFICATION}res2net50-w26-s8_3rdparty_8xb32_in1k_20210927-f547a94b.pth', (20.8, 5.64)),
    _converted('res2net101-w26-s4_3rdparty_8xb32_in1k', 'res2net101_26w4s',
               f'{CLASSIFICATION}res2net101-w26-s4_3rdparty_8xb32_in1k_20210927-870b6c36.pth', (20.81, 5.56)),
    _converted('res2net101_v1d_26w_4s', 'res2net101_v1b_26w4s',
               'pretrain/third_party/res2net101_v1d_26w_4s_mmdetv2-f0a600f9.pth'),
)
