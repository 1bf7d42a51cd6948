"""That a Predictor says what the toolbox's own inferencer says, of models of every task; and what it refuses."""
import re
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from helpers import SMALL_MODELS, slow_except, write_lazy_config, write_small_model
from mmengine.registry import DefaultScope

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpose')
pytest.importorskip('mmpretrain')
from res2net_mm.apis import (  # noqa: E402
    Predictor,  # noqa: E402
    inferencers,
)
from res2net_mm.apis import predictor as predictor_module
from res2net_mm.utils.config import load_config  # noqa: E402
from res2net_mm.utils.errors import UserError  # noqa: E402

IMAGE = np.random.default_rng(0).integers(0, 255, (48, 80, 3), dtype=np.uint8)
TALL = np.random.default_rng(1).integers(0, 255, (90, 50, 3), dtype=np.uint8)


def their_result(task, config, checkpoint, images):
    """What the toolbox's inferencer returns for images, made and called as its documentation says."""
    scope = load_config(config).default_scope
    if task == 'classification':
        from mmpretrain import ImageClassificationInferencer
        with DefaultScope.overwrite_default_scope(scope):
            return ImageClassificationInferencer(config, pretrained=checkpoint, device='cpu')(images)
    if task in ('detection', 'masks'):
        from mmdet.apis import DetInferencer
        return DetInferencer(config, checkpoint, device='cpu')(images, return_datasamples=True)['predictions']
    if task in ('segmentation', 'saliency'):
        from mmseg.apis import MMSegInferencer
        return [MMSegInferencer(config, checkpoint, device='cpu')(image, return_datasamples=True) for image in images]
    from mmpose.apis.inferencers import Pose2DInferencer
    inferencer = Pose2DInferencer(config, checkpoint, device='cpu', det_model='whole_image')
    return [result['predictions'][0] for result in inferencer(images, return_datasamples=True)]


@pytest.mark.parametrize('task', slow_except(SMALL_MODELS, 'classification', 'detection', 'segmentation', 'keypoints'))
def test_says_what_the_inferencer_of_the_toolbox_says(task, small_model):
    config, checkpoint = small_model(task)
    images = [IMAGE, TALL]
    theirs = their_result(task, config, checkpoint, images)
    ours = Predictor(config, checkpoint, device='cpu')
    assert ours.task == ('detection' if task == 'masks' else task) and isinstance(ours.model, torch.nn.Module)
    for number, (image, wanted) in enumerate(zip(images, theirs, strict=True)):
        found, = ours([image])
        assert found.task == ours.task and found.size == image.shape[:2] and found.classes == ours.classes
        if found.scores is not None:
            assert (np.diff(found.scores) <= 0).all()
        if task == 'classification':
            assert found.labels[0] == wanted['pred_label']
            assert np.allclose(found.scores, np.sort(wanted['pred_scores'])[::-1], atol=1e-6)
        elif task in ('detection', 'masks'):
            instances = wanted.pred_instances
            order = np.argsort(-instances.scores.numpy(), kind='stable')
            assert len(found.labels) == 10
            assert np.allclose(found.scores, instances.scores.numpy()[order], atol=1e-5)
            assert np.allclose(found.boxes, instances.bboxes.numpy()[order], atol=1e-3)
            if task == 'masks':
                assert found.masks.shape == (10, *image.shape[:2]) and found.masks.any()
                assert np.mean(found.masks != instances.masks.numpy()[order]) < 1e-4
        elif task == 'segmentation':
            assert set(np.unique(found.segmentation)) == {0, 1}
            assert (found.segmentation == wanted.pred_sem_seg.data[0].numpy()).all()
        elif task == 'saliency':
            probabilities = wanted.seg_logits.data[0].numpy()
            assert np.allclose(found.saliency, probabilities, atol=1e-6) and found.saliency.std() > 0
            assert ((found.saliency > 0.5) == wanted.pred_sem_seg.data[0].numpy()).all()
        else:
            instances = wanted.pred_instances if not isinstance(wanted, list) else wanted[0].pred_instances
            assert found.keypoints.shape == (1, 17, 3) and len(found.skeleton) == 19 and found.classes == ('person', )
            assert np.allclose(found.keypoints[..., :2], instances.keypoints, atol=1e-3), number
            assert np.allclose(found.keypoints[..., 2], instances.keypoint_scores, atol=1e-5)


@pytest.mark.parametrize('task', slow_except(['segmentation', 'saliency', 'classification', 'keypoints'],
                                             'segmentation'))
def test_images_of_different_sizes_in_a_batch_are_as_alone(task, small_model):
    predictor = Predictor(*small_model(task), device='cpu')
    images = [IMAGE, TALL, IMAGE[:, ::-1].copy()]
    for found, image in zip(predictor(images), images, strict=True):
        alone, = predictor([image])
        for name in ('labels', 'scores', 'keypoints', 'segmentation', 'saliency'):
            value = getattr(alone, name)
            assert (value is None) == (getattr(found, name) is None)
            assert value is None or np.allclose(getattr(found, name), value, atol=1e-4), name
    assert predictor([]) == []


@pytest.mark.parametrize('task', slow_except(['detection', 'segmentation', 'keypoints', 'classification'], 'detection'))
def test_configs_with_classes_instead_of_names(task, small_model, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    config, checkpoint = small_model(task)
    cfg = load_config(config)
    for name in [name for name in cfg if name.endswith(('hooks', '_evaluator', '_cfg', 'wrapper', 'scheduler'))
                 or name.startswith(('train', 'val'))]:
        cfg.pop(name)
    write_lazy_config(tmp_path / 'lazy.py', cfg)
    lazy, = Predictor(str(tmp_path / 'lazy.py'), checkpoint, device='cpu')([IMAGE])
    plain, = Predictor(config, checkpoint, device='cpu')([IMAGE])
    assert lazy.classes == plain.classes
    for name in ('scores', 'boxes', 'keypoints', 'segmentation'):
        assert np.array_equal(getattr(lazy, name), getattr(plain, name)), name


def test_names_of_classes_come_from_the_checkpoint_the_config_or_are_numbers(tmp_path):
    config, checkpoint = write_small_model(tmp_path, 'classification', meta=dict(dataset_meta=dict(classes=('a', 'b'))))
    assert Predictor(config, checkpoint, device='cpu').classes == ('a', 'b')
    config, checkpoint = write_small_model(tmp_path, 'classification')
    assert Predictor(config, checkpoint, device='cpu').classes == ('upright', 'level')
    config, checkpoint = write_small_model(tmp_path, 'classification',
                                           "test_dataloader['dataset'].pop('metainfo')\n")
    assert Predictor(config, checkpoint, device='cpu').classes == ('class 0', 'class 1')


def test_keypoints_are_looked_for_where_the_detector_finds_objects(small_model, monkeypatch):
    pose, detector = small_model('keypoints'), small_model('detection')
    predictor = Predictor(*pose, device='cpu', detector=detector[0], detector_checkpoint=detector[1])
    monkeypatch.setattr(predictor_module, 'BOX_SCORE', 0.)
    images = [IMAGE, TALL]
    for boxes, found in zip(predictor.detector(images), predictor(images), strict=True):
        assert 0 < len(found.boxes) <= len(boxes.boxes)
        assert all(np.isclose(boxes.boxes, box, atol=1e-3).all(1).any() for box in found.boxes)
        assert len(np.unique(found.keypoints[:, 0, :2], axis=0)) > 1  # each box its own
    monkeypatch.setattr(predictor_module, 'BOX_SCORE', 1.1)
    nothing, = predictor([IMAGE])
    assert nothing.keypoints.shape == (0, 17, 3) and nothing.boxes.shape == (0, 4) and len(nothing.scores) == 0


@pytest.mark.parametrize('task', slow_except(['detection', 'classification', 'segmentation', 'saliency', 'keypoints'],
                                             'detection'))
def test_mixed_precision_is_near(task, small_model):
    plain, = Predictor(*small_model(task), device='cpu')([IMAGE])
    half, = Predictor(*small_model(task), device='cpu', amp='bfloat16')([IMAGE])
    name = next(name for name in ('scores', 'saliency', 'segmentation') if getattr(plain, name) is not None)
    first, second = getattr(plain, name)[:1].astype(float), getattr(half, name)[:1].astype(float)
    assert np.mean(abs(first - second)) < 0.1
    if name != 'segmentation':
        assert not np.array_equal(getattr(plain, name), getattr(half, name))  # it did compute otherwise
    assert getattr(half, name).dtype in (np.float32, np.uint8)


def test_accelerated(small_model):
    plain, = Predictor(*small_model('detection'), device='cpu')([IMAGE])
    predictor = Predictor(*small_model('detection'), device='cpu', accelerate='pytorch')
    fast, = predictor([IMAGE])
    assert type(predictor.model.backbone).__name__ == 'AcceleratedBackbone'
    assert np.allclose(fast.scores, plain.scores, atol=1e-4) and len(fast.boxes) == 10


@pytest.mark.parametrize('arguments, message', [
    (dict(amp='float16'), "amp='float16' is for GPUs"),
    (dict(amp='float8'), "amp='float8' must be one of float16, bfloat16"),
    (dict(accelerate='magic'), "backend='magic' must be one of"),
    (dict(amp='bfloat16', accelerate='pytorch'), 'cannot be had together'),
    (dict(device='abacus'), "device='abacus': must be cpu, cuda or cuda:INDEX"),
    (dict(device='cuda:99'), "device='cuda:99': there is no such CUDA device"),
    (dict(detector='demo'), 'a detector is for top-down pose estimators'),
    (dict(detector_checkpoint='a.pth'), 'there is no detector for it'),
])
def test_arguments_that_do_not_suit(arguments, message, small_model):
    with pytest.raises(UserError, match=message):
        Predictor(*small_model('classification'), **{'device': 'cpu', **arguments})


def test_checkpoint_of_another_config_is_one_line_with_both_names(small_model):
    (config, _), (_, checkpoint) = small_model('classification'), small_model('segmentation')
    message = f"checkpoint '{checkpoint}' does not fit config '{config}'"
    with pytest.raises(UserError, match=re.escape(message)) as error:
        Predictor(config, checkpoint, device='cpu')
    assert '\n' not in str(error.value) and len(str(error.value)) < 700


@pytest.mark.parametrize('change, message', [
    ("test_dataloader['dataset'].pop('pipeline')\n", 'has no test pipeline'),
    ('test_dataloader = None\n', 'has no test pipeline'),
    ("test_dataloader['dataset']['pipeline'].pop(0)\n", 'its test pipeline loads no image file'),
    ('model = None\n', 'has no model'),
    ("model = dict(type='BaseTTAModel')\n", 'there are results for classifiers, detectors'),
])
def test_configs_that_cannot_be_used(change, message, small_model, tmp_path):
    config = tmp_path / 'changed.py'
    config.write_text(SMALL_MODELS['classification'] + change)
    with pytest.raises(UserError, match=message):
        Predictor(str(config), small_model('classification')[1], device='cpu')


def test_missing_toolbox_says_how_to_install_it(small_model, monkeypatch):
    monkeypatch.setattr(inferencers, 'find_spec', lambda name: None if name == 'mmpretrain' else find_spec(name))
    with pytest.raises(UserError, match=re.escape("pip install 'res2net_mm[cls]'")):
        Predictor(*small_model('classification'), device='cpu')


def test_grey_models_get_grey_images(tmp_path):
    config, checkpoint = write_small_model(
        tmp_path, 'classification', "data_preprocessor = dict(mean=[127.], std=[64.], num_classes=2)\n"
        "model['backbone']['in_channels'] = 1\n"
        "test_dataloader['dataset']['pipeline'][0]['color_type'] = 'grayscale'\n")
    found, = Predictor(config, checkpoint, device='cpu')([IMAGE])
    assert found.scores.shape == (2, )
