"""Files of every task and format beside the toolboxes' models, and what is refused."""
import json

import cv2
import numpy as np
import pytest
import torch
from helpers import expect_failure, write_small_model
from torch import nn

from res2net_mm.apis.export import export
from res2net_mm.apis.exported import SPEC_KEY, Exported
from res2net_mm.apis.exporting.detector_checks import compare_objects
from res2net_mm.apis.exporting.formats import SUFFIXES
from res2net_mm.apis.exporting.graphs import AdaptivePooling, build_graph
from res2net_mm.cli.export import main
from res2net_mm.utils.errors import UserError

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
TASKS = ('classification', 'segmentation', 'saliency', 'keypoints')
OTHERS = [pytest.param('openvino'), pytest.param('torchscript'), pytest.param('pt2', marks=pytest.mark.slow)]


def picture(height=70, width=100, seed=0):
    """Smooth noise, which every resize treats alike up to rounding."""
    noise = np.random.default_rng(seed).integers(0, 255, (8, 10, 3), dtype=np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def export_small(small_model, task, out, **options):
    config, checkpoint = small_model(task)
    return export(config, out, checkpoint=checkpoint, **options)


@pytest.mark.parametrize('task', TASKS)
def test_onnx_computes_what_the_toolbox_does_at_any_size(task, small_model, tmp_path):
    images = [picture(), picture(131, 67)]
    check = export_small(small_model, task, tmp_path / 'a.onnx', check=images)
    assert check.holds and check.images == 2 and len(check.errors) == 1
    assert 0 < max(check.errors.values()) < 1e-4  # a comparison of something with itself has 0


@pytest.mark.parametrize('to', OTHERS)
def test_other_formats(to, small_model, tmp_path):
    if to == 'openvino':
        pytest.importorskip('openvino')
    out = tmp_path / f'a{SUFFIXES[to]}'
    check = export_small(small_model, 'classification', out, to=to, check=[picture(), picture(131, 67)])
    assert check.holds and check.images == 2
    assert Exported(out, threads=1).spec['classes'] == ['upright', 'level']
    assert {path.name for path in tmp_path.iterdir()} == {out.name, *(['a.bin'] if to == 'openvino' else [])}


@pytest.mark.slow
@pytest.mark.parametrize('to', ['openvino', 'torchscript', 'pt2'])
@pytest.mark.parametrize('task', TASKS[1:])
def test_every_task_in_every_format(task, to, small_model, tmp_path):
    check = export_small(small_model, task, tmp_path / f'a{SUFFIXES[to]}', to=to, check=[picture(), picture(131, 67)])
    assert check.holds


def test_a_wrong_file_is_found(small_model, tmp_path, monkeypatch):
    from res2net_mm.apis.exporting import graphs
    monkeypatch.setattr(graphs.Classification, 'forward',
                        lambda self, images: (self.model.head(self.model.extract_feat(images)).softmax(1) * 1.001, ))
    check = export_small(small_model, 'classification', tmp_path / 'a.onnx', check=[picture()])
    assert not check.holds


def test_backbone_alone(small_model, tmp_path):
    check = export_small(small_model, 'detection', tmp_path / 'a.onnx', backbone=True, check=[picture()])
    assert list(check.errors) == [f'out{i}' for i in range(5)] and check.holds
    with pytest.raises(UserError, match='is a backbone, which predicts nothing'):
        Exported(tmp_path / 'a.onnx')


@pytest.mark.parametrize('task', ['classification', 'segmentation', 'saliency', 'detection'])
def test_preprocessing_inside(task, small_model, tmp_path):
    export_small(small_model, task, tmp_path / 'plain.onnx')
    export_small(small_model, task, tmp_path / 'inside.onnx', preprocess=True)
    plain, inside = Exported(tmp_path / 'plain.onnx', 1), Exported(tmp_path / 'inside.onnx', 1)
    for image in (picture(), picture(131, 67)):
        one, other = plain(image), inside(image)
        if task == 'segmentation':
            assert (one.segmentation == other.segmentation).mean() > 0.99
        elif task == 'saliency':
            assert np.abs(one.saliency - other.saliency).mean() < 0.01  # cv2 rounds its weights to 11 bits
        elif task == 'detection':
            errors = compare_objects(other, one)  # matched: two of nearly one score may change places
            assert errors['number'] == 0 and errors['boxes'] < 0.1 and errors['scores'] < 0.02
        else:
            assert np.array_equal(one.labels, other.labels) and np.allclose(one.scores, other.scores, atol=0.02)


def test_one_input_size(small_model, tmp_path):
    check = export_small(small_model, 'segmentation', tmp_path / 'a.onnx', input_size=(64, 96))
    model = Exported(check.file, 1)
    outs, prepared = model.outputs(picture(131, 67))
    assert outs['logits'].shape == (1, 2, 64, 96) and prepared.resized == (64, 33)
    assert model(picture(131, 67)).segmentation.shape == (131, 67)


def test_the_file_says_what_it_is(small_model, tmp_path):
    import onnx
    export_small(small_model, 'classification', tmp_path / 'a.onnx')
    model = onnx.load(tmp_path / 'a.onnx')
    spec, = (json.loads(entry.value) for entry in model.metadata_props if entry.key == SPEC_KEY)
    assert spec['task'] == 'classification' and spec['outputs'] == ['scores'] and spec['input'] == 'prepared'
    assert spec['preprocess']['mean'] == [127.] * 3 and spec['preprocess']['resize']['size'] == [64, 64]
    assert [size.dim_param for size in model.graph.input[0].type.tensor_type.shape.dim][0] == 'number'
    assert {opset.version for opset in model.opset_import} == {18}


@pytest.mark.parametrize('size', [(7, 9), (3, 4), (17, 13)])
def test_adaptive_pooling(size):
    features = torch.randn(2, 3, *size)
    assert torch.allclose(AdaptivePooling((3, 2))(features), nn.AdaptiveAvgPool2d((3, 2))(features), atol=1e-6)


def test_the_model_keeps_its_own_pooling():
    head = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.AdaptiveAvgPool2d(1))
    model = nn.Module()
    model.head, model.test_cfg = head, dict(mode='whole')
    graph = build_graph(model, 'segmentation')
    assert [type(layer) for layer in graph.model.head] == [AdaptivePooling, nn.AdaptiveAvgPool2d]
    assert isinstance(head[0], nn.AdaptiveAvgPool2d)  # or the file would be compared with itself


@pytest.mark.parametrize('options, message', [
    (dict(to='tensorrt'), 'must be one of onnx, openvino, torchscript, pt2'),
    (dict(to='openvino'), "must end with '.xml'"),
    (dict(backbone=True, preprocess=True), '--preprocess is for whole models'),
    (dict(checkpoint='other'), 'does not fit config'),
])
def test_bad_arguments(options, message, small_model, tmp_path):
    config, checkpoint = small_model('classification')
    if 'checkpoint' in options:
        options = dict(checkpoint=small_model('saliency')[1])
    with pytest.raises(UserError, match=message):
        export(config, tmp_path / 'a.onnx', **{**dict(checkpoint=checkpoint), **options})
    assert not list(tmp_path.iterdir())


def test_a_missing_package_says_how_to_get_it(small_model, tmp_path, monkeypatch):
    from res2net_mm.apis.exporting import formats

    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(formats, 'import_module', missing)
    with pytest.raises(UserError, match=r"onnx is not installed: pip install 'res2net_mm\[export\]'"):
        export_small(small_model, 'classification', tmp_path / 'a.onnx')


@pytest.mark.parametrize('change, message', [
    ("test_dataloader['dataset']['pipeline'][1] = dict(type='Pad', size_divisor=32)\n", "transform 'Pad' is not known"),
    ("test_dataloader['dataset']['pipeline'][1] = dict(type='Resize', scale_factor=.5)\n", 'scale_factor'),
    ("test_dataloader['dataset']['pipeline'] *= 2\n", 'comes after another one of its kind'),
    ("model['head'] = dict(type='MultiLabelLinearClsHead', num_classes=2, in_channels=256)\n", 'has other scores'),
])
def test_models_that_cannot_be_exported(change, message, tmp_path):
    config, checkpoint = write_small_model(tmp_path, 'classification', change)
    with pytest.raises(UserError, match=message):
        export(config, tmp_path / 'a.onnx', checkpoint=checkpoint)
    assert not (tmp_path / 'a.onnx').exists()


def test_keypoints_are_cut_out_before_the_file(small_model, tmp_path):
    with pytest.raises(UserError, match='cannot cut out the boxes'):
        export_small(small_model, 'keypoints', tmp_path / 'a.onnx', preprocess=True)


@pytest.mark.parametrize('to', ['torchscript', 'pt2'])
def test_detectors_in_formats_that_cannot_express_them(to, small_model, tmp_path):
    with pytest.raises(UserError, match='onnx and openvino only'):
        export_small(small_model, 'detection', tmp_path / f'a{SUFFIXES[to]}', to=to)


def test_command(small_model, tmp_path, capsys, monkeypatch):
    config, checkpoint = small_model('classification')
    (tmp_path / 'images').mkdir()
    cv2.imwrite(str(tmp_path / 'images' / 'a.png'), picture())
    argv = [config, '--checkpoint', checkpoint, '--out', str(tmp_path / 'a.onnx'), '--check']
    main([*argv, str(tmp_path / 'images')])
    said = capsys.readouterr().out
    assert 'a.onnx' in said and 'scores' in said and 'largest error' in said
    (tmp_path / 'empty.jpg').touch()
    expect_failure(capsys, main, [*argv, str(tmp_path / 'empty.jpg')], 'is empty')
    expect_failure(capsys, main, [*argv, str(tmp_path / 'none.jpg')], 'does not exist')
    from res2net_mm.apis.exporting import checks
    monkeypatch.setattr(checks, 'TOLERANCE', -1.)
    monkeypatch.setattr(checks.ExportCheck, 'holds', property(lambda self: False))
    expect_failure(capsys, main, [*argv, str(tmp_path / 'images')], 'does not compute what PyTorch does')


@pytest.mark.parametrize('options', [dict(preprocess=True), dict(input_size=(64, 96))])
@pytest.mark.parametrize('task', ['classification', 'segmentation'])
def test_checks_of_other_inputs(task, options, small_model, tmp_path):
    check = export_small(small_model, task, tmp_path / 'a.onnx', check=[picture(131, 67)], **options)
    assert check.holds and 0 < max(check.errors.values()) < 2e-2
