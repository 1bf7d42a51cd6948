"""Exported detectors beside mmdet's own ``predict``: with many objects and with none, at two sizes in one file."""
import functools

import cv2
import numpy as np
import pytest
import torch
from helpers import config_path, load_config, randomise, write_small_model
from mmengine.registry import MODELS, init_default_scope

from res2net_mm.apis.export import export_model
from res2net_mm.apis.exported import SPEC_KEY, Exported
from res2net_mm.apis.exporting import detectors
from res2net_mm.apis.exporting.checks import toolbox_batch
from res2net_mm.apis.exporting.detector_checks import OBJECT_TOLERANCES, compare_objects, reference_objects
from res2net_mm.apis.exporting.detectors import build_detector_graph
from res2net_mm.apis.exporting.loading import ModelToExport
from res2net_mm.apis.masks import paste_masks
from res2net_mm.apis.prediction import Prediction
from res2net_mm.utils.errors import UserError

pytest.importorskip('mmdet')
onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
CONFIGS = {
    'faster': 'demo_faster_rcnn_r2n26_shapes.py',
    'mask': 'mask_rcnn_r2n50_coco.py',
    'cascade': 'cascade_rcnn_r2n101_v1b_coco.py',
    'cascade mask': 'cascade_mask_rcnn_r2n101_v1b_coco.py',
    'C4': 'faster_rcnn_c4_r2n50_coco.py',
}
SLOW = {'C4', 'cascade', 'cascade mask'}
KINDS = [pytest.param(kind, marks=[pytest.mark.slow] if kind in SLOW else []) for kind in CONFIGS]
# How much the outputs of a layer vary, by a part of its name, so that there are objects of many scores and sizes.
SPREAD = {'layer3': 1, 'lateral_convs': 1, 'rpn_conv': 1, 'rpn_cls': 2, 'rpn_reg': 0.4, 'shared_fcs': 1, 'fc_cls': 3,
          'fc_reg': 2, 'mask_head.convs': 1, 'mask_head.upsample': 1, 'mask_head.conv_logits': 3}
IMAGES = [np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
          for seed, size in enumerate([(96, 128), (141, 87)])]


def small_config(kind):
    """The config of a detector with few channels, which takes images as they are."""
    cfg = load_config(config_path(CONFIGS[kind]))
    model, channels, classes = cfg.model, 32, 5
    if kind == 'C4':
        model.backbone.init_cfg = model.roi_head.shared_head.init_cfg = None
        model.roi_head.bbox_head.num_classes = classes
    else:
        model.backbone = dict(type='res2net_mm.Res2Net', depth=26, base_channels=16, init_cfg=None)
        model.neck.update(in_channels=[64, 128, 256, 512], out_channels=channels)
        model.rpn_head.update(in_channels=channels, feat_channels=channels)
        for extractor in ('bbox_roi_extractor', 'mask_roi_extractor'):
            if extractor in model.roi_head:
                model.roi_head[extractor].update(out_channels=channels, finest_scale=10)  # of small boxes, too
        heads = model.roi_head.bbox_head
        for head in heads if isinstance(heads, list) else [heads]:
            head.update(in_channels=channels, fc_out_channels=64, num_classes=classes)
        if 'mask_head' in model.roi_head:
            model.roi_head.mask_head.update(in_channels=channels, conv_out_channels=channels, num_classes=classes)
    model.test_cfg.rpn.update(nms_pre=100, max_per_img=20 if kind == 'C4' else 60)
    cfg.test_dataloader.dataset.pipeline = [
        dict(type='LoadImageFromFile'), dict(type='Resize', scale=(160, 100), keep_ratio=True),
        dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]
    return cfg


def spread_outputs(model, image):
    """Scale the weights of layers, while they run on an image, to outputs that vary as ``SPREAD`` says."""
    def hook(module, _, out, std):
        if hasattr(module, 'seen'):
            return out
        module.seen = True
        for parameter in module.parameters():
            parameter.data *= std / out.std()
        return out * (std / out.std())

    handles = []
    for name, module in model.named_modules():
        stds = [std for part, std in SPREAD.items() if set(part.split('.')) <= set(name.split('.'))]
        if stds and ((list(module.parameters()) and not list(module.children())) or name.endswith('backbone.layer3')):
            handles.append(module.register_forward_hook(functools.partial(hook, std=stds[0])))
    with torch.no_grad():
        build_detector_graph(model)(image)
    for handle in handles:
        handle.remove()


@functools.lru_cache(maxsize=None)
def small_detector(kind):
    """A detector with random weights that finds many objects in noise."""
    torch.manual_seed(0)
    init_default_scope('mmdet')
    cfg = small_config(kind)
    model = MODELS.build(cfg.model).eval()
    randomise(model.backbone)
    spread_outputs(model, torch.randn(1, 3, 96, 128))
    return ModelToExport(kind, cfg, model, 'detection', tuple('abcde'))


@pytest.mark.parametrize('kind', KINDS)
def test_a_file_finds_what_mmdet_finds_at_any_size(kind, tmp_path):
    loaded, file = small_detector(kind), tmp_path / 'detector.onnx'
    check = export_model(loaded, file, check=IMAGES)
    assert check.holds, check.rows()
    assert set(check.errors) == set(OBJECT_TOLERANCES) - (set() if 'mask' in kind else {'masks'})
    nodes = onnx.load(file).graph.node
    assert {node.domain for node in nodes} == {''}
    assert {'RoiAlign', 'NonMaxSuppression'} <= {node.op_type for node in nodes}
    found = [Exported(file, threads=1)(image) for image in IMAGES]
    assert all(len(one.scores) > 15 and len(set(one.labels)) > 1 for one in found)
    assert kind == 'C4' or all(np.ptp(one.scores) > 0.1 for one in found)  # stage 4 makes all boxes of noise alike
    assert check.errors['scores'] > 0  # another program than PyTorch


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['faster', 'mask'])
def test_openvino_finds_the_same(kind, tmp_path):
    pytest.importorskip('openvino')
    check = export_model(small_detector(kind), tmp_path / 'detector.xml', 'openvino', check=IMAGES)
    assert check.holds, check.rows()


@pytest.mark.parametrize('part, to', [
    ('roi_head.bbox_head.fc_cls', 'onnx'),
    *(pytest.param(part, to, marks=pytest.mark.slow) for part, to in (
        ('rpn_head.rpn_reg', 'onnx'), ('roi_head.bbox_head.fc_cls', 'openvino'), ('rpn_head.rpn_reg', 'openvino')))])
def test_nothing_to_find(part, to, tmp_path):
    """No detection, and no proposal."""
    if to == 'openvino':
        pytest.importorskip('openvino')
    loaded = small_detector('mask')
    layer = loaded.model.get_submodule(part)
    bias = layer.bias.clone()
    file = tmp_path / dict(onnx='a.onnx', openvino='a.xml')[to]
    try:
        if part.endswith('reg'):
            layer.bias.data[:] = -1e4  # boxes that end left of the image and above it
        else:
            layer.bias.data[-1] = 1e4  # the background
        check = export_model(loaded, file, to, check=IMAGES)
    finally:
        layer.bias.data[:] = bias
    assert check.holds, check.rows()
    found = Exported(file, threads=1)(IMAGES[0])
    assert len(found.scores) == 0 and found.masks.shape == (0, *IMAGES[0].shape[:2])


def graph_errors(loaded):
    """How the graph, in PyTorch, differs from mmdet on the first image, in pixels of the prepared image."""
    batch = toolbox_batch(loaded, cv2.resize(IMAGES[0], (160, 96)))  # what the pipeline leaves as it is
    assert batch['data_samples'][0].ori_shape == batch['data_samples'][0].img_shape == (96, 160)
    wanted = reference_objects(loaded.model, batch['inputs'], batch['data_samples'], loaded.classes)
    with torch.no_grad():
        boxes, scores, labels = build_detector_graph(loaded.model)(batch['inputs'])
    return compare_objects(Prediction('detection', (96, 160), loaded.classes, labels.numpy(), scores.numpy(),
                                      boxes.numpy()), wanted)


def is_allowed(errors):
    return all(error <= OBJECT_TOLERANCES[name] for name, error in errors.items())


def not_aligned(features, boxes, size, scale, ratio, aligned, align=detectors.roi_align):
    return align(features, boxes, size, scale, ratio, False)


@pytest.mark.parametrize('name, wrong', [
    ('roi_align', not_aligned),
    ('LARGEST_DELTA', 0.1),
    ('of_class', lambda deltas, label, head: deltas[:, :4]),
    ('suppress', lambda boxes, scores, groups, settings: detectors.nms(boxes, scores, settings.iou_threshold)),
    ('levels', None),
])
def test_a_wrong_graph_is_seen(name, wrong, monkeypatch):
    loaded = small_detector('faster')
    assert is_allowed(graph_errors(loaded))
    if name == 'levels':
        pool = detectors.TwoStageGraph.pool

        def on_wrong_levels(graph, extractor, features, boxes):
            monkeypatch.setattr(extractor, 'finest_scale', 5)
            try:
                return pool(graph, extractor, features, boxes)
            finally:
                monkeypatch.undo()
                monkeypatch.setattr(detectors.TwoStageGraph, 'pool', on_wrong_levels)

        monkeypatch.setattr(detectors.TwoStageGraph, 'pool', on_wrong_levels)
    else:
        monkeypatch.setattr(detectors, name, wrong)
    assert not is_allowed(graph_errors(loaded))


def test_what_cannot_be_exported_is_said():
    init_default_scope('mmdet')
    htc = MODELS.build(load_config(config_path('htc_r2n101_v1b_coco.py')).model)
    with pytest.raises(UserError, match='HybridTaskCascade.*supported are Faster R-CNN, Mask R-CNN'):
        build_detector_graph(htc)
    vfnet = MODELS.build(load_config(config_path('vfnet_r2n101_v1b_coco.py')).model)
    with pytest.raises(UserError, match='its model is a VFNet, not a TwoStageDetector'):
        build_detector_graph(vfnet)


@pytest.mark.parametrize('change, message', [
    (lambda model: model.test_cfg.rcnn.nms.update(type='soft_nms'), 'non-maximum suppression'),
    (lambda model: model.backbone.update(dcn=dict(type='DCNv2', deform_groups=1),
                                         stage_with_dcn=(False, True, False, False)), 'deformable convolution'),
    (lambda model: model.rpn_head.bbox_coder.update(clip_border=False), 'not clipped'),
    (lambda model: model.roi_head.bbox_roi_extractor.roi_layer.update(pool_mode='max'), "pool_mode 'max'"),
])
def test_parts_that_cannot_be_exported_are_said(change, message):
    init_default_scope('mmdet')
    cfg = small_config('faster')
    change(cfg.model)
    with pytest.raises(UserError, match=message):
        build_detector_graph(MODELS.build(cfg.model))


def test_a_subclass_that_changes_nothing_is_exported_and_another_one_is_not():
    model = small_detector('faster').model
    kind = type(model)
    try:
        model.__class__ = type('Own', (kind, ), {})
        build_detector_graph(model)
        model.__class__ = type('Other', (kind, ), {'predict': lambda self: None})
        with pytest.raises(UserError, match='Other has a predict of its own'):
            build_detector_graph(model)
    finally:
        model.__class__ = kind


def objects(boxes, scores=None, labels=None, masks=None):
    number = len(boxes)
    return Prediction('detection', (20, 20), ('a', 'b'), np.array(labels or [0] * number), np.array(scores or
                      [0.5] * number), np.array(boxes, np.float32).reshape(-1, 4), masks)


def test_objects_are_matched_by_class_and_overlap():
    boxes = [[0, 0, 10, 10], [5, 5, 15, 15]]
    assert compare_objects(objects(boxes), objects(boxes[::-1])) == dict(number=0, boxes=0, scores=0)
    assert compare_objects(objects(boxes[:1]), objects(boxes)) == dict(number=1, boxes=1, scores=1)
    assert compare_objects(objects([]), objects([])) == dict(number=0, boxes=0, scores=0)
    assert compare_objects(objects(boxes, labels=[0, 1]), objects(boxes, labels=[1, 0]))['boxes'] == 1 - 25 / 175
    moved = compare_objects(objects([[0, 0, 10, 9]], [0.4]), objects([[0, 0, 10, 10]]))
    assert moved['boxes'] == pytest.approx(0.1) and moved['scores'] == pytest.approx(0.1)
    full, half = np.ones((1, 20, 20), bool), np.ones((1, 20, 20), bool)
    half[:, 10:] = False
    assert compare_objects(objects(boxes[:1], masks=half), objects(boxes[:1], masks=full))['masks'] == 199 / 400


def test_masks_are_pasted_as_mmdet_does():
    from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask
    rng = np.random.default_rng(0)
    masks = rng.random((6, 28, 28), dtype=np.float32)
    boxes = np.float32([[3.2, 4.7, 60.1, 35.5], [-5, -3, 20, 70], [10, 10, 11, 11], [0, 0, 90, 50], [80, 40, 120, 70],
                        [200, 200, 230, 220]])
    wanted, _ = _do_paste_mask(torch.from_numpy(masks)[:, None], torch.from_numpy(boxes), 50, 90, skip_empty=False)
    assert np.array_equal(paste_masks(masks, boxes, (50, 90)), wanted.numpy() >= 0.5)
    assert paste_masks(masks[:0], boxes[:0], (50, 90)).shape == (0, 50, 90)


@pytest.mark.slow
def test_the_command_compares_a_detector(tmp_path, capsys):
    from res2net_mm.cli.export import main
    config, checkpoint = write_small_model(tmp_path, 'detection')
    cv2.imwrite(str(tmp_path / 'image.png'), IMAGES[0])
    main([str(config), '--checkpoint', str(checkpoint), '--out', str(tmp_path / 'a.onnx'), '--check',
          str(tmp_path / 'image.png')])
    assert 'number' in capsys.readouterr().out
    assert SPEC_KEY in {entry.key for entry in onnx.load(tmp_path / 'a.onnx').metadata_props}


def test_a_pixel_of_a_mask_may_fall_on_either_side():
    from res2net_mm.apis.exporting.detector_checks import mask_error
    mask = np.zeros((20, 20), bool)
    assert mask_error(mask, mask) == 0
    mask[:5, :6] = True
    other = mask.copy()
    other[5, 0] = True
    assert mask_error(mask, other) == mask_error(other, mask) == 0
    other[5, 1] = True
    assert mask_error(mask, other) == pytest.approx(1 / 32)
    assert mask_error(mask, ~mask) == pytest.approx(399 / 400)
