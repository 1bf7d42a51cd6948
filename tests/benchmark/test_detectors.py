"""tools/analysis_tools/benchmark_models.py: what a config's backbone is compared with, what detectors do, and a run."""
import json

import pytest
import torch
from helpers import expect_failure

from res2net_mm import Res2Net
from res2net_mm.benchmark import detectors
from res2net_mm.benchmark.timing import MeasuringSettings
from res2net_mm.cli.benchmark_models import main
from res2net_mm.utils.config import load_config

OURS = dict(type='res2net_mm.Res2Net', depth=50, out_indices=(0, 1, 2, 3), frozen_stages=1, norm_eval=True,
            init_cfg=dict(type='Pretrained', checkpoint='res2net_mm://res2net50_26w4s'))


def test_backbones_of_mmdet():
    pytest.importorskip('mmdet')
    import mmdet.models  # noqa: F401
    backbones = detectors.compared_backbones(OURS, 'mmdet')
    shared = dict(out_indices=(0, 1, 2, 3), frozen_stages=1, norm_eval=True, init_cfg=None)
    plain = dict(depth=50, deep_stem=False, avg_down=False)
    assert backbones == {
        'res2net_mm.Res2Net': dict(shared, type='res2net_mm.Res2Net', depth=50),
        'mmdet.ResNet': dict(shared, type='mmdet.ResNet', **plain),
        'mmdet.Res2Net': dict(shared, type='mmdet.Res2Net', scales=4, base_width=26, **plain),
    }
    assert OURS['init_cfg']  # as it was


def test_backbones_of_other_variants():
    pytest.importorskip('mmpretrain')
    import mmpretrain.models  # noqa: F401
    v1b = detectors.compared_backbones(dict(type='res2net_mm.Res2Net', arch='res2net101d', stage_pool='always'),
                                     'mmpretrain')
    assert v1b['mmpretrain.ResNet'] == dict(type='mmpretrain.ResNet', depth=101, deep_stem=True, avg_down=True,
                                            init_cfg=None, out_indices=(0, 1, 2, 3))
    assert v1b['mmpretrain.Res2Net']['scales'] == 4
    se = detectors.compared_backbones(dict(type='res2net_mm.Res2Net', arch='se_res2net50_26w4s'), 'mmpretrain')
    assert list(se) == ['res2net_mm.Res2Net', 'mmpretrain.ResNet']  # mmpretrain's Res2Net has no SE
    with pytest.raises(ValueError, match="backbone type='ResNet' must be 'res2net_mm.Res2Net'"):
        detectors.compared_backbones(dict(type='ResNet', depth=50), 'mmdet')


def test_boxes_are_fixed_wherever_they_are():
    test_cfg = dict(rpn=dict(nms=dict(iou_threshold=.7), max_per_img=9), rcnn=[dict(score_thr=.05), dict(score_thr=0.)])
    detectors.fix_boxes(test_cfg)
    assert test_cfg == dict(rpn=dict(nms=dict(iou_threshold=1.), max_per_img=9), rcnn=[dict(score_thr=1.)] * 2)
    detectors.fix_boxes(None)


@pytest.mark.parametrize('config, size', [
    ('faster_rcnn_r2n50_coco', (800, 1333)), ('deeplabv3plus_r2n50_voc12aug', (513, 513)),
    ('simplebaseline_r2n50_coco', (256, 192)),
    ('simplebaseline_r2n50_384x288_coco', (384, 288)), ('imagenet_r2n50_26w4s_299', (299, 299)),
])
def test_image_size(config, size):
    pytest.importorskip('mmpose' if config.startswith('simple') else 'mmdet')
    assert detectors.find_test_size(config, load_config(f'res2net_mm::{config}.py')) == size


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_another_type_inside(layout):
    seen = []
    model = torch.nn.Module()
    model.backbone = Res2Net(depth=26, base_channels=8, base_width=32, scales=2).eval()
    model.backbone.conv1.register_forward_hook(lambda _, inputs, out: seen.append(out))
    with torch.no_grad():
        wanted = model.backbone(x := torch.randn(1, 3, 32, 32))
        detectors.cast_features(model, torch.bfloat16, layout)
        outs = model.backbone(x)
    assert seen[1].dtype == torch.bfloat16 and seen[1].is_contiguous(memory_format=layout)
    for out, expected in zip(outs, wanted):
        assert out.dtype == torch.float32 and out.is_contiguous() and torch.allclose(out, expected, rtol=.1, atol=.1)


@pytest.fixture
def detector(tmp_path):
    """Faster R-CNN that proposes 30 regions, on small images."""
    pytest.importorskip('mmdet')
    path = tmp_path / 'faster_rcnn.py'
    path.write_text("""_base_ = 'res2net_mm::faster_rcnn_r2n50_coco.py'
model = dict(test_cfg=dict(rpn=dict(max_per_img=30)))
test_dataloader = dict(dataset=dict(pipeline=[dict(type='Resize', scale=(96, 64), keep_ratio=True)]))
""")
    return path


@pytest.mark.slow
def test_a_detector_has_all_proposals_and_no_detections(detector, monkeypatch):
    models = detectors.build_models(load_config(detector), [], MeasuringSettings(torch.device('cpu')))
    proposed = []
    for model in [built.model for built in models]:
        predict = model.roi_head.predict
        monkeypatch.setattr(model.roi_head, 'predict', lambda features, proposals, *rest, predict=predict, **more: (
            proposed.extend(map(len, proposals)), predict(features, proposals, *rest, **more))[1])
        with torch.no_grad():
            samples = model.test_step(detectors.noise_batch('mmdet', model, 2, 64, 96))
        assert [len(sample.pred_instances) for sample in samples] == [0, 0]
    assert proposed == [30] * 2 * len(models) and len(models) == 3


@pytest.mark.slow
def test_command(detector, tmp_path, monkeypatch, capsys):
    pytest.importorskip('mmpose')
    monkeypatch.setattr('res2net_mm.benchmark.timing.LEAST_SECONDS', 0)
    main([str(detector), 'res2net_mm::simplebaseline_r2n50_coco.py', '--image-size', '64', '96',
          '--backends', 'auto', 'onnxruntime', '--rounds', '2', '--device', 'cpu', '--out', str(tmp_path)])
    report = json.loads((tmp_path / 'benchmark_models.json').read_text())
    assert [(row['config'], row['backbone'], row['path']) for row in report['rows']] == [
        (config, backbone, path) for config, toolbox, peers in [
            ('faster_rcnn', 'mmdet', ['ResNet', 'Res2Net']), ('simplebaseline_r2n50_coco', 'mmpose', ['ResNet'])]
        for backbone, paths in [('res2net_mm.Res2Net', ['eager', 'accelerate', 'accelerate-onnxruntime']),
                                *((f'{toolbox}.{peer}', ['eager', 'onnxruntime']) for peer in peers)]
        for path in paths]
    for row in report['rows']:
        assert len(row['seconds']) == 2 and row['image_size'] == [64, 96]
        itself = (row['backbone'], row['path']) == ('res2net_mm.Res2Net', 'eager')
        assert (row['to_ours']['median'] == 1) == itself
        assert (row['to_resnet']['median'] == 1) == (row['backbone'].endswith('.ResNet') and row['path'] == 'eager')
        assert 0.01 < row['backbone_share'] < 1
    page = (tmp_path / 'benchmark_models.md').read_text()
    assert '| faster_rcnn | 64×96 | 1 | mmdet.Res2Net | eager |' in page and 'images/s' not in page
    assert 'images/s' in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize('arguments, message', [
    (['res2net_mm::no_such.py'], 'no_such.py'),
    (['res2net_mm::upernet_r2n50_ade20k.py', '--batch-sizes', '0'], r'--batch-sizes \[0\]: must be at least 1'),
    (['res2net_mm::imagenet_r50.py'], "backbone type='.*ResNet' must be 'res2net_mm.Res2Net'"),
    (['res2net_mm::imagenet_r2n50_26w4s.py', '--image-size', '8', '8'], '--image-size .*: must be at least 32'),
    (['res2net_mm::imagenet_r2n50_26w4s.py', '--backends', 'openvino', '--dtype', 'bfloat16'],
     '--backends openvino: run on the CPU and in float32 only'),
])
def test_bad_arguments(arguments, message, tmp_path, capsys):
    pytest.importorskip('mmpretrain')
    pytest.importorskip('mmseg')
    expect_failure(capsys, main, [*arguments, '--device', 'cpu', '--out', str(tmp_path)], message)
