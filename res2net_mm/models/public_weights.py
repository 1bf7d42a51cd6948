"""The table of public weights: ``res2net_mm://NAME`` loads them, docs/weights.md lists them.

A row has the files of the same weights in the order in which their hosts are asked, the most trusted first:

1. the hub: its files are safetensors, which cannot run code, and their full SHA-256 is the ETag;
2. the publisher's own host: the authors' bucket, Paddle's bucket, OneDL's mirror of OpenMMLab's files under its name;
3. copies: that mirror under the address of its bucket, and timm's release of the authors' files on GitHub.

OpenMMLab's own host is none of them: docs/weights.md says why. Facts are from the publishers' sources, which the page
names; the addresses have not been tried.
"""
from __future__ import annotations

import re
from pathlib import Path

from ..checkpoints.weights import SCHEME, Accuracy, Preprocessing, WeightFile, Weights, hashed_file

HUB = 'https://huggingface.co/timm/{}.in1k/resolve/main/model.safetensors'
AUTHORS = 'https://shanghuagao.oss-cn-beijing.aliyuncs.com/res2net/'
ONEDL = ('https://mmassets.onedl.ai/', 'https://pub-ed9ed750ddcc469da251e2d1a2cea382.r2.dev/')
PADDLE = 'https://paddle-imagenet-models-name.bj.bcebos.com/dygraph/'
TIMM = 'https://github.com/huggingface/pytorch-image-models/releases/download/v0.1-res2net/'

AUTHORS_WORD = 'CC BY-NC-SA 4.0, non-commercial: stated by the authors for their code, and nothing else for the files'
AUTHORS_LICENCE = f'{AUTHORS_WORD}; "unknown" on the hub'
CONVERTED_LICENCE = "none stated; converted from the authors' weights"
DETECTOR_LICENCE = "none stated for the files (mmdet's code: Apache-2.0); trained from the authors' weights"
VFNET_LICENCE = "none stated for the files (VarifocalNet's code: Apache-2.0); trained from the authors' weights"
PADDLE_LICENCE = ("Apache-2.0, stated for PaddleClas; whether that covers Paddle's weights is a question without an "
                  'answer (PaddleDetection, issue 9500)')

ERRORS, ACCURACIES = 'top-1 / top-5 error, %', 'top-1 / top-5 accuracy, %'
APS = ('box AP, %', 'box AP / mask AP, %')  # of a detector, and of one with masks
CENTRE_CROP = 'ImageNet validation, one centre crop of 224²'
COCO = 'COCO val2017, one scale, 1333×800'
DETECTION = Preprocessing(input_size=1333, resize=800)


def _authors(name: str, hub: str, file: str, authors: tuple[float, float], timm: tuple[float, float], size: int | None,
             hosts: tuple[str, ...] = (AUTHORS, TIMM), sha256: str = '', note: str = '') -> Weights:
    """Weights of the authors: timm's copy on the hub, their file, and the same file beside timm's code."""
    files = (WeightFile(HUB.format(hub), sha256=sha256), *(hashed_file(host + file, size) for host in hosts))
    accuracies = (Accuracy(ERRORS, authors, 'the authors', CENTRE_CROP), Accuracy(ERRORS, timm, 'timm', CENTRE_CROP))
    return Weights(name, name, files, AUTHORS_LICENCE, accuracies, note=note)


def _onedl(path: str) -> tuple[WeightFile, ...]:
    """A file of OpenMMLab, at both addresses of OneDL's mirror."""
    return tuple(hashed_file(host + path) for host in ONEDL)


def _converted(name: str, architecture: str, path: str, accuracies: tuple[float, float] | None = None) -> Weights:
    """The authors' weights as OpenMMLab has converted them."""
    published = (Accuracy(ACCURACIES, accuracies, 'mmpretrain', CENTRE_CROP), ) if accuracies else ()
    return Weights(name, architecture, _onedl(path), CONVERTED_LICENCE, published)


def _paddle(name: str, architecture: str, file: str, accuracies: tuple[float, float], note: str = '',
            quoted: tuple[float, float] | None = None, alias: bool = True) -> Weights:
    """Weights of PaddleClas; ``quoted`` are the errors that the README of Res2Net's authors has of them."""
    published = [Accuracy(ACCURACIES, accuracies, 'PaddleClas', CENTRE_CROP)]
    if quoted:
        published.append(Accuracy(ERRORS, quoted, 'the authors', 'not said'))
    return Weights(
        name, architecture, (WeightFile(f'{PADDLE}{file}_pretrained.pdparams'), ), PADDLE_LICENCE, tuple(published),
        'strided_hierarchical', note=note, aliases=(file, ) if alias else ())


def _detector(name: str, path: str, *aps: float) -> Weights:
    """A detector of mmdet; its config here has the name of the weights."""
    return Weights(
        name, 'res2net101_v1b_26w4s', _onedl(f'mmdetection/v2.0/res2net/{path}'), DETECTOR_LICENCE,
        (Accuracy(APS[len(aps) - 1], aps, 'mmdet', COCO), ), 'strided', DETECTION, name)


def _vfnet(name: str, page: str, ap: float, test_dev: float, note: str) -> Weights:
    """A detector of VarifocalNet's authors, whom mmdet's configs are from."""
    return Weights(
        name, 'res2net101_v1b_26w4s', (), VFNET_LICENCE, (
            Accuracy(APS[0], (ap, ), 'VarifocalNet', COCO),
            Accuracy(APS[0], (test_dev, ), 'VarifocalNet', 'COCO test-dev, one scale, 1333×800')),
        'strided', DETECTION, name, note, page=f'https://drive.google.com/file/d/{page}/view')


_MMCLS = 'mmclassification/v0/res2net/'
_26W8S = "timm's results differ from the authors' and from timm's own model index (20.81 / 5.63); two releases, perhaps"
_SSLD = 'distilled from a larger model with further images (SSLD)'

WEIGHTS = (
    _authors('res2net50_48w2s', 'res2net50_48w_2s', 'res2net50_48w_2s-afed724a.pth',
             (22.68, 6.47), (22.472, 6.438), 101421406),
    _authors('res2net50_26w4s', 'res2net50_26w_4s', 'res2net50_26w_4s-06e79181.pth',
             (22.01, 6.15), (22.006, 6.14), 103110087),
    _authors('res2net50_14w8s', 'res2net50_14w_8s', 'res2net50_14w_8s-6527dddc.pth',
             (21.86, 6.14), (21.858, 6.148), 100638543),
    _authors('res2net50_26w6s', 'res2net50_26w_6s', 'res2net50_26w_6s-19041792.pth',
             (21.42, 5.87), (21.414, 5.88), 148603239),
    _authors('res2net50_26w8s', 'res2net50_26w_8s', 'res2net50_26w_8s-2c7c9f12.pth',
             (20.8, 5.63), (21.05, 5.72), 194085165, note=_26W8S),
    _authors('res2net101_26w4s', 'res2net101_26w_4s', 'res2net101_26w_4s-02a759a1.pth',
             (20.81, 5.57), (20.808, 5.534), 181456059),
    _authors('res2next50_8c4w4s', 'res2next50', 'res2next50_4s-6ef7e7bf.pth',
             (21.76, 6.09), (21.762, 6.096), 99019592),
    _authors('res2net50_v1b_26w4s', 'res2net50d', 'res2net50_v1b_26w_4s-3cf99910.pth',
             (19.73, 4.96), (19.72, 4.972), None, hosts=(AUTHORS, )),
    _authors('res2net101_v1b_26w4s', 'res2net101d', 'res2net101_v1b_26w_4s-0812c246.pth',
             (18.77, 4.64), (18.764, 4.654), None, hosts=(AUTHORS, ),
             sha256='7e00980a876398f235a9a1e294a48be85e88bdd63db5f6834fd686db50ae02c4'),
    _authors('dla60_res2net', 'dla60_res2net', 'res2net_dla60_4s-d88db7f9.pth',
             (21.53, 5.8), (21.52, 5.796), 84886593, hosts=(TIMM, )),
    _authors('dla60_res2next', 'dla60_res2next', 'res2next_dla60_4s-d327927b.pth',
             (21.55, 5.86), (21.512, 5.856), 69639245, hosts=(TIMM, )),

    _converted('res2net50-w14-s8_3rdparty_8xb32_in1k', 'res2net50_14w8s',
               f'{_MMCLS}res2net50-w14-s8_3rdparty_8xb32_in1k_20210927-bc967bf1.pth', (78.14, 93.85)),
    _converted('res2net50-w26-s8_3rdparty_8xb32_in1k', 'res2net50_26w8s',
               f'{_MMCLS}res2net50-w26-s8_3rdparty_8xb32_in1k_20210927-f547a94b.pth', (79.2, 94.36)),
    _converted('res2net101-w26-s4_3rdparty_8xb32_in1k', 'res2net101_26w4s',
               f'{_MMCLS}res2net101-w26-s4_3rdparty_8xb32_in1k_20210927-870b6c36.pth', (79.19, 94.44)),
    _converted('res2net101_v1d_26w_4s', 'res2net101_v1b_26w4s',
               'pretrain/third_party/res2net101_v1d_26w_4s_mmdetv2-f0a600f9.pth'),

    _paddle('res2net50_26w4s_paddle', 'res2net50_26w4s', 'Res2Net50_26w_4s', (79.3, 94.6), alias=False),
    _paddle('res2net50_14w8s_paddle', 'res2net50_14w8s', 'Res2Net50_14w_8s', (79.5, 94.7), alias=False),
    _paddle('res2net50_vd', 'res2net50_vd_26w4s', 'Res2Net50_vd_26w_4s', (79.8, 94.9)),
    _paddle('res2net101_vd', 'res2net101_vd_26w4s', 'Res2Net101_vd_26w_4s', (80.6, 95.2)),
    _paddle('res2net200_vd', 'res2net200_vd_26w4s', 'Res2Net200_vd_26w_4s', (81.2, 95.7)),
    _paddle('res2net50_vd_ssld', 'res2net50_vd_26w4s', 'Res2Net50_vd_26w_4s_ssld', (83.1, 96.6), _SSLD),
    _paddle('res2net101_vd_ssld', 'res2net101_vd_26w4s', 'Res2Net101_vd_26w_4s_ssld', (83.9, 97.1), _SSLD),
    _paddle('res2net200_vd_ssld', 'res2net200_vd_26w4s', 'Res2Net200_vd_26w_4s_ssld', (85.1, 97.4), _SSLD,
            quoted=(14.87, 2.58)),

    _detector('faster_rcnn_r2n101_v1b_coco',
              'faster_rcnn_r2_101_fpn_2x_coco/faster_rcnn_r2_101_fpn_2x_coco-175f1da6.pth', 43.0),
    _detector('mask_rcnn_r2n101_v1b_coco',
              'mask_rcnn_r2_101_fpn_2x_coco/mask_rcnn_r2_101_fpn_2x_coco-17f061e8.pth', 43.6, 38.7),
    _detector('cascade_rcnn_r2n101_v1b_coco',
              'cascade_rcnn_r2_101_fpn_20e_coco/cascade_rcnn_r2_101_fpn_20e_coco-f4b7b7db.pth', 45.7),
    _detector('cascade_mask_rcnn_r2n101_v1b_coco',
              'cascade_mask_rcnn_r2_101_fpn_20e_coco/cascade_mask_rcnn_r2_101_fpn_20e_coco-8a7b41e1.pth', 46.4, 40.0),
    _detector('htc_r2n101_v1b_coco', 'htc_r2_101_fpn_20e_coco/htc_r2_101_fpn_20e_coco-3a8d2112.pth', 47.5, 41.6),
)

# Weights that only a person with a browser can fetch: as NAME.pth in RES2NET_MM_WEIGHTS they serve their names, too.
BY_HAND = (
    Weights('res2net152_v1b_26w4s', 'res2net152_v1b_26w4s', (), AUTHORS_WORD,
            note="linked in the authors' answers (Res2Net-PretrainedModels, issues 24 and 50); no accuracy, hash or "
            'size is published',
            page='https://mailnankaieducn-my.sharepoint.com/:u:/g/personal/shgao_mail_nankai_edu_cn/'
            'ERLs1nrRZepNumQ0GQEYEpwBRnqByInWTjvZLzhlc2blSw?e=cbr0cZ'),
    _vfnet('vfnet_r2n101_v1b_coco', '1E4o1CxaWUQV7-HAyqbITw7JD8mOF7tNW', 49.2, 49.3,
           "mmdet has this config and no weights; whether the keys are those of today's mmdet is not known"),
    _vfnet('vfnet_r2n101_v1b_mdconv_coco', '1kCiEqAA_VQlhbiNuZ3HWGhBD1JvVpK0c', 51.1, 51.3,
           'mmdet has this config and no weights; the file may have an unused conv2 in each block with deformable '
           'convolutions, which VarifocalNet says it has'),
)


def find_tested_weights(config: Path) -> Weights | None:
    """The public weights of the whole model of one of our configs: those that its header tests it with, or None."""
    tested = re.search(rf'tools/test\.py \S+ {SCHEME}(\w+)', config.read_text(encoding='utf-8'))
    return next((row for row in (*WEIGHTS, *BY_HAND) if tested and row.name == tested[1]), None)
