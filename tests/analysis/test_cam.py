"""Class activation maps: that they show the object of generated images, for all three tasks, and every error."""
import json
import re

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, init_default_scope

pytest.importorskip('pytorch_grad_cam')
pytest.importorskip('mmpretrain')
from res2net_mm.analysis.cam import coverage, explain, figure, targets  # noqa: E402
from res2net_mm.cli import cam  # noqa: E402
from res2net_mm.utils.images import find_images, read_image  # noqa: E402

CLASSES = ('upright', 'level')  # stripes
CLASSIFIER = """
default_scope = 'mmpretrain'
data_preprocessor = dict(mean=[127.] * 3, std=[64.] * 3, num_classes=2)
model = dict(
    type='ImageClassifier',
    backbone=dict(type='res2net_mm.Res2Net', depth=26, base_channels=8, strides=(1, 2, 1, 1), out_indices=(3, )),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=2, in_channels=256, loss=dict(type='CrossEntropyLoss')))
test_dataloader = dict(dataset=dict(
    type='CustomDataset', metainfo=dict(classes=('upright', 'level')),
    pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')]))
"""
PIPELINE = """
test_dataloader = dict(dataset=dict(type='{}', metainfo=dict(classes=('upright', 'level')), pipeline=[
    dict(type='LoadImageFromFile'), dict(type='Resize', scale=(128, 96), keep_ratio=True),
    dict(type='LoadAnnotations'), dict(type='{}')]))
"""
BACKBONE = "backbone=dict(type='res2net_mm.Res2Net', depth=26, base_channels=8)"
SEGMENTOR = """
default_scope = 'mmseg'
model = dict(type='EncoderDecoder', BACKBONE,
    data_preprocessor=dict(type='SegDataPreProcessor', mean=[127.] * 3, std=[64.] * 3, test_cfg=dict(size_divisor=32)),
    decode_head=dict(type='FCNHead', in_channels=256, channels=8, num_classes=2, num_convs=1),
    test_cfg=dict(mode='whole'))
""" + PIPELINE.format('BaseSegDataset', 'PackSegInputs')
PREPROCESSOR = "data_preprocessor=dict(type='DetDataPreprocessor', mean=[127.] * 3, std=[64.] * 3, pad_size_divisor=32)"
FASTER_RCNN = """
_base_ = 'mmdet::_base_/models/faster-rcnn_r50_fpn.py'
default_scope = 'mmdet'
model = dict(PREPROCESSOR, BACKBONE_,
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=16), rpn_head=dict(in_channels=16, feat_channels=16),
    roi_head=dict(bbox_roi_extractor=dict(out_channels=16),
                  bbox_head=dict(in_channels=16, fc_out_channels=16, num_classes=2)),
    test_cfg=dict(rcnn=dict(score_thr=0.)))
"""
RETINANET = """
_base_ = 'mmdet::_base_/models/retinanet_r50_fpn.py'
default_scope = 'mmdet'
model = dict(PREPROCESSOR, BACKBONE_,
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=16),
    bbox_head=dict(in_channels=16, feat_channels=16, stacked_convs=1, num_classes=2), test_cfg=dict(score_thr=0.))
"""


def draw_stripes(rng, label, size=96):
    """Noise with a striped square, and a chequered one that tells nothing: the image, and both as x, y, w, h."""
    image = rng.normal(110, 25, (size, size, 3))
    sides = rng.integers(20, 36, 2).tolist()
    left = int(rng.integers(2))  # which of the two is in the left half
    boxes = []
    for i, side in enumerate(sides):
        x, y = (rng.integers(0, limit) for limit in (size // 2 - side, size - side))
        boxes.append((int(x) + size // 2 * (i != left), int(y), side, side))
        stripes = np.arange(side) // 4 % 2
        pattern = stripes[:, None] ^ stripes if i else np.broadcast_to(stripes if label == 0 else stripes[:, None],
                                                                       (side, side))
        image[boxes[i][1]:boxes[i][1] + side, boxes[i][0]:boxes[i][0] + side] = 20 + 210 * pattern[..., None]
    return image.clip(0, 255).astype(np.uint8), boxes


def write_config(folder, text, name='model'):
    backbone_ = "backbone=dict(_delete_=True, type='res2net_mm.Res2Net', depth=26, base_channels=8)"
    text = text.replace('PREPROCESSOR', PREPROCESSOR).replace('BACKBONE_', backbone_).replace('BACKBONE', BACKBONE)
    path = folder / f'{name}.py'
    path.write_text(text)
    return str(path)


def build(config):
    from res2net_mm import load_config
    cfg = load_config(config)
    init_default_scope(cfg.default_scope)
    return MODELS.build(cfg.model)


def saved(model, folder, name='model'):
    torch.save(dict(state_dict=model.state_dict()), folder / f'{name}.pth')
    return str(folder / f'{name}.pth')


def see_stripes(model):
    """Give the classifier weights by which each logit is the mean of how much there is of its class's stripes.

    The stem has four channels for each class, waves of its stripes' length in four phases, each less a threshold that
    noise stays below. All else hands these eight channels on: shortcuts copy them, the blocks' other branch is zero.
    """
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.zeros_(module.weight)
        elif isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 0.
    backbone = model.backbone
    for label in range(2):
        for phase in range(4):
            wave = torch.cos(2 * torch.pi * (torch.arange(7) - 3) / 8 + torch.pi / 2 * phase)
            wave -= wave.mean()  # grey is no stripe
            plane = wave.expand(7, 7) if label == 0 else wave.expand(7, 7).T
            backbone.conv1.weight.data[4 * label + phase] = plane / plane.square().sum()
    torch.nn.init.constant_(backbone.bn1.bias, -.5)
    for stage in (backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4):
        for module in stage[0].downsample.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.data[:8, :8, 0, 0] = torch.eye(8)
    torch.nn.init.zeros_(model.head.fc.weight)
    torch.nn.init.zeros_(model.head.fc.bias)
    for label in range(2):
        model.head.fc.weight.data[label, 4 * label:4 * label + 4] = 10
    return model


@pytest.fixture(scope='module')
def stripes(tmp_path_factory):
    """A classifier that sees stripes: its config and checkpoint."""
    folder = tmp_path_factory.mktemp('stripes')
    config = write_config(folder, CLASSIFIER)
    return config, saved(see_stripes(build(config)), folder)


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """20 images, and the file of their boxes."""
    folder = tmp_path_factory.mktemp('images')
    rng = np.random.default_rng(1)
    entries, annotations = [], []
    for i in range(20):
        image, boxes = draw_stripes(rng, i % 2)
        cv2.imwrite(str(folder / f'{i:02d}.png'), image)
        entries.append(dict(id=i, file_name=f'{i:02d}.png'))
        annotations += [dict(image_id=i, category_id=category, bbox=box, area=box[2] * box[3])
                        for category, box in zip((i % 2 + 1, 3), boxes)]
    categories = [dict(id=i + 1, name=name) for i, name in enumerate((*CLASSES, 'chequered'))]
    boxes = folder / 'boxes.json'
    boxes.write_text(json.dumps(dict(images=entries, annotations=annotations, categories=categories)))
    return sorted(folder.glob('*.png')), boxes


def mean_shares(model, images):
    """Means over the images: the object's share of the image, of the map's energy, and the distractor's of that."""
    shares = []
    for i, image in enumerate(images[0]):
        heat, _ = model.explain(model.prepare_image(image), i % 2)
        objects = coverage.read_boxes(images[1], [image])[image]
        regions = [model.box_region(image, box.box) for box in objects]
        shares.append([regions[0].mean(), *(coverage.map_coverage(heat, region).energy for region in regions)])
    return np.mean(shares, axis=0)


@pytest.mark.slow
def test_a_classifier_of_stripes_looks_at_the_stripes(stripes, images, tmp_path):
    model = explain.ExplainedModel(*stripes)
    for i, image in enumerate(images[0]):
        answer = model.explain(model.prepare_image(image))[1]
        assert answer.label == i % 2 and answer.score > .99
    share, inside, in_distractor = mean_shares(model, images)
    assert inside >= 3 * share and inside >= 3 * in_distractor  # 6.7 and 4.5 times

    # The net's shape alone does not do it.
    random_model = explain.ExplainedModel(stripes[0], saved(build(stripes[0]), tmp_path))
    share, inside, in_distractor = mean_shares(random_model, images)
    assert inside < 1.5 * in_distractor  # 0.6 times


@pytest.mark.slow
def test_methods(stripes, images):
    """All of them run; those that take the gradient's mean and those that do not agree where that is linear."""
    prepared = explain.ExplainedModel(*stripes).prepare_image(images[0][0])
    with pytest.raises(ValueError, match='must be one of') as error:
        explain.find_cam_method('GradCam')
    names = str(error.value).partition('one of ')[2].split(', ')
    assert {'GradCAM', 'HiResCAM', 'LayerCAM', 'EigenCAM', 'ScoreCAM'} <= set(names)
    maps = {}
    for name in names:
        maps[name], answer = explain.ExplainedModel(*stripes, method=name).explain(prepared)
        assert maps[name].shape == (96, 96) and maps[name].min() >= 0 and maps[name].max() <= 1 and answer.label == 0
    assert np.allclose(maps['GradCAM'], maps['HiResCAM'], atol=1e-4) and maps['GradCAM'].max() > .99


def test_public_weights_of_a_classifier(stripes, tmp_path, images):
    """As torchvision, timm and the authors name them: no prefix, and fc."""
    state = torch.load(stripes[1])['state_dict']
    public = {key.partition('.')[2]: value for key, value in state.items()}
    assert 'fc.weight' in public
    torch.save(public, tmp_path / 'public.pth')
    ours = explain.ExplainedModel(*stripes)
    public_model = explain.ExplainedModel(stripes[0], str(tmp_path / 'public.pth'))
    prepared = ours.prepare_image(images[0][0])
    assert np.array_equal(ours.explain(prepared)[0], public_model.explain(prepared)[0])


@pytest.mark.parametrize(('backbone', 'name'), [
    (dict(type='res2net_mm.Res2Net', depth=26, base_channels=8), 'layer4.1'),
    (dict(type='res2net_mm.Res2Net', depth=26, base_channels=8, out_indices=(0, 2)), 'layer3.1'),
    (dict(type='res2net_mm.DLA', base_width=4), 'level5'),
    (dict(type='res2net_mm.BLRes2Net', base_width=4), 'layer4.2'),
    (dict(type='mmpretrain.ResNet', depth=18), 'layer4.1'),
    (dict(type='mmdet.ResNet', depth=18), 'layer4.1'),
])
def test_default_layer(backbone, name):
    pytest.importorskip(backbone['type'].partition('.')[0])
    model = torch.nn.Module()
    model.backbone = MODELS.build(backbone)
    model.eval()
    assert explain.last_block_name(model, torch.zeros(1, 3, 64, 64)) == f'backbone.{name}'


def test_region_goes_the_way_of_the_image(stripes, tmp_path):
    """Through a resize to half the size and a crop of the middle."""
    text = CLASSIFIER.replace("dict(type='PackInputs')", "dict(type='Resize', scale=(60, 40)), "
                              "dict(type='CenterCrop', crop_size=(40, 40)), dict(type='PackInputs')")
    model = explain.ExplainedModel(write_config(tmp_path, text), stripes[1])
    image = tmp_path / 'image.png'
    cv2.imwrite(str(image), np.zeros((80, 120, 3), np.uint8))
    expected = np.zeros((40, 40), bool)
    expected[10:15, 20:30] = True  # x: 60 / 2 - 10, y: 20 / 2
    assert np.array_equal(model.box_region(image, (60, 20, 20, 10)), expected)
    assert model.prepare_image(image).image.shape == (40, 40, 3)
    assert not model.box_region(image, (0, 20, 20, 10)).any()  # cropped away


KINDS = {  # of images: channels, how they are loaded, and the data_preprocessor
    'grey': (1, "'grayscale'", 'dict(mean=[127.], std=[64.])'),
    'grey, not normalised': (1, "'grayscale'", 'dict()'),
    'colours, not normalised': (3, "'color'", 'dict()'),
    'colours, RGB': (3, "'color'", 'dict(mean=[127.] * 3, std=[64.] * 3, to_rgb=True)'),
    'colours and alpha': (4, "'unchanged'", 'dict(mean=[127.] * 4, std=[64.] * 4)'),
    'colours and alpha, not normalised': (4, "'unchanged'", 'dict()'),
}


def classifier_of(folder, channels, color_type, preprocessor):
    """A classifier of images of a kind: its config and checkpoint."""
    text = CLASSIFIER.replace('dict(mean=[127.] * 3, std=[64.] * 3, num_classes=2)', preprocessor)
    text = text.replace('base_channels=8', f'base_channels=8, in_channels={channels}')
    text = text.replace("dict(type='LoadImageFromFile')", f"dict(type='LoadImageFromFile', color_type={color_type})")
    config = write_config(folder, text)
    return config, saved(build(config), folder)


@pytest.mark.parametrize('kind', KINDS)
def test_images_of_every_kind(kind, tmp_path):
    channels = KINDS[kind][0]
    image = np.random.default_rng(0).integers(0, 255, (64, 48, channels), np.uint8)
    cv2.imwrite(str(tmp_path / 'image.png'), image)
    config, checkpoint = classifier_of(tmp_path, *KINDS[kind])
    boxes = dict(images=[dict(id=0, file_name='image.png')], categories=[dict(id=1, name='level')],
                 annotations=[dict(image_id=0, category_id=1, bbox=[8, 16, 24, 32])])
    (tmp_path / 'boxes.json').write_text(json.dumps(boxes))
    cam.main([config, checkpoint, str(tmp_path / 'image.png'), '--boxes', str(tmp_path / 'boxes.json'),
              '--out', str(tmp_path / 'out')])
    results = json.loads((tmp_path / 'out' / 'cam.json').read_text())
    assert results['models']['model']['layer'] == 'backbone.layer4.1' and len(results['maps']) == 1
    measured = results['coverage']['objects'][0]['models']['model']
    assert measured['share_of_picture'] == 24 * 32 / (64 * 48)
    model = explain.ExplainedModel(config, checkpoint)
    prepared = model.prepare_image(tmp_path / 'image.png')
    assert prepared.batch.shape == (1, channels, 64, 48) and prepared.image.shape == (64, 48, channels)
    assert cv2.imread(str(tmp_path / 'out' / 'cam_001.png')) is not None


@pytest.mark.parametrize(('channels', 'color_type', 'preprocessor', 'message'), [
    (1, "'color'", 'dict()', r"config '.*model.py': the model refuses the image .*\(1, 3, 64, 48\).*1 channels"),
    (1, "'grayscale'", 'dict(mean=[127.] * 3, std=[64.] * 3)', r'the model refuses the image'),
    (3, "'unchanged'", 'dict(mean=[127.] * 3, std=[64.] * 3)', r'its data_preprocessor refuses .*\(4, 64, 48\)'),
])
def test_images_of_another_number_of_channels(channels, color_type, preprocessor, message, tmp_path):
    cv2.imwrite(str(tmp_path / 'image.png'), np.full((64, 48, 4), 9, np.uint8))
    with pytest.raises(SystemExit) as error:
        cam.main([*classifier_of(tmp_path, channels, color_type, preprocessor), str(tmp_path / 'image.png'),
                  '--out', str(tmp_path / 'out')])
    assert re.search(message, str(error.value)), error.value


@pytest.mark.parametrize('text', [FASTER_RCNN, SEGMENTOR], ids=['detector', 'segmentor'])
def test_a_grey_image_for_every_task(text, images, tmp_path):
    pytest.importorskip('mmdet' if text == FASTER_RCNN else 'mmseg')
    text += PIPELINE.format('CocoDataset', 'PackDetInputs') if text == FASTER_RCNN else ''
    grey = '[127.], std=[64.]' + (', bgr_to_rgb=False' if text.startswith(FASTER_RCNN) else '')
    text = text.replace('PREPROCESSOR', PREPROCESSOR).replace('[127.] * 3, std=[64.] * 3', grey)
    text = text.replace('BACKBONE_', "backbone=dict(_delete_=True, type='res2net_mm.Res2Net', depth=26, "
                        'base_channels=8, in_channels=1)').replace('BACKBONE', BACKBONE[:-1] + ', in_channels=1)')
    config = write_config(tmp_path, text.replace(
        "dict(type='LoadImageFromFile')", "dict(type='LoadImageFromFile', color_type='grayscale')"))
    model = explain.ExplainedModel(config, saved(build(config), tmp_path))
    prepared = model.prepare_image(images[0][0])
    assert prepared.batch.shape[1] == 1 and model.explain(prepared)[0].shape == (96, 96)


def test_region_of_a_pipeline_that_normalises(stripes, tmp_path):
    text = CLASSIFIER.replace("dict(type='PackInputs')", "dict(type='Normalize', mean=[127.] * 3, std=[64.] * 3), "
                              "dict(type='PackInputs')").replace('dict(mean=[127.] * 3, std=[64.] * 3, num', 'dict(num')
    model = explain.ExplainedModel(write_config(tmp_path, text), stripes[1])
    cv2.imwrite(str(tmp_path / 'image.png'), np.zeros((40, 40, 3), np.uint8))
    region = model.box_region(tmp_path / 'image.png', (10, 20, 5, 10))
    assert region.sum() == 50 and region[20:30, 10:15].all()


def test_displayed_images():
    """Channels as one sees them, whatever their number, order and type."""
    image = np.arange(2 * 2 * 5, dtype=np.uint8).reshape(2, 2, 5)
    assert np.allclose(figure.displayed(image) * 255, image[..., [2, 1, 0]])
    for channels in (1, 2):
        assert np.allclose(figure.displayed(image[..., :channels]) * 255, image[..., [0, 0, 0]])
    for values in (image.astype(np.uint16) * 1000, image.astype(np.float32) / 9 - 1):
        shown = figure.displayed(values)
        assert shown.dtype == np.float32 and shown.min() == 0 and shown.max() == 1
    assert not figure.displayed(np.full((2, 2, 1), 7.)).any()


def test_coverage_of_a_box():
    region = np.zeros((4, 4), bool)
    region[:2, :2] = True
    assert coverage.map_coverage(np.ones((4, 4)), region) == coverage.Coverage(.25, energy=.25, covered=1)
    assert coverage.map_coverage(np.eye(4), region) == coverage.Coverage(.25, energy=.5, covered=.5)
    assert coverage.map_coverage(np.zeros((4, 4)), region) == coverage.Coverage(.25, energy=0, covered=0)


def test_only_objects_that_all_models_see_count():
    def record(size, **energy):
        return coverage.ObjectCoverage('a.jpg', 'x', size, {
            name: coverage.Coverage(.1) if value is None else coverage.Coverage(.1, value, 1.)
            for name, value in energy.items()})

    summary = coverage.summarise_coverage([record('small', a=.2, b=.4), record('small', a=None, b=.8)], ['a', 'b'])
    assert summary['small'].objects == 1
    assert summary['small'].models['b'].energy == .4 and summary['small'].models['a'].missed == 1
    assert summary['large'].models['a'].energy is None


def test_coverage_in_json():
    """The keys of cam.json stay as they are, whatever the attributes are called."""
    models = dict(a=coverage.Coverage(.1), b=coverage.Coverage(.1, .5, 1))
    record = coverage.ObjectCoverage('a.jpg', 'x', 'small', models)
    assert record.to_json() == dict(photo='a.jpg', category='x', size='small', models=dict(
        a=dict(share_of_picture=.1, found=False), b=dict(share_of_picture=.1, found=True, energy=.5, covered=1)))
    assert coverage.summarise_coverage([record], ['a'])['all'].to_json() == dict(objects=0, models=dict(
        a=dict(share_of_picture=None, energy=None, covered=None, missed=1)))


def test_boxes_leave_out_crowds_and_classes_that_occur_twice(tmp_path):
    annotations = [dict(image_id=1, category_id=c, bbox=[0, 0, 40, 40], iscrowd=crowd)
                   for c, crowd in ((1, 0), (2, 0), (2, 0), (3, 1))]
    path = tmp_path / 'boxes.json'
    path.write_text(json.dumps(dict(images=[dict(id=1, file_name='train/a.jpg')], annotations=annotations,
                                    categories=[dict(id=i, name=f'c{i}') for i in (1, 2, 3)])))
    image = tmp_path / 'a.jpg'
    boxes = coverage.read_boxes(path, [image, tmp_path / 'b.jpg'])
    assert [box.category for box in boxes[image]] == ['c1'] and list(boxes) == [image]
    assert boxes[image][0].size == 'medium'


@pytest.mark.slow
def test_command(stripes, images, tmp_path, capsys):
    files, boxes = images
    out = tmp_path / 'out'
    cam.main([*stripes, *map(str, files[:9]), '--compare', *stripes, '--class', 'level', '--boxes', str(boxes),
              '--target-layer', 'backbone.layer3.1', '--out', str(out)])
    assert 'energy in box' in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ['cam.json', 'cam_001.png', 'cam_002.png', 'coverage.png']
    drawn = cv2.imread(str(out / 'cam_001.png'))
    assert drawn.shape[0] > 2 * drawn.shape[1]  # 8 rows of an image and two maps
    results = json.loads((out / 'cam.json').read_text())
    assert results['models']['model (2)']['layer'] == 'backbone.layer3.1'
    assert len(results['maps']) == 18 and {record['class_name'] for record in results['maps']} == {'level'}
    both = results['coverage']['summary']['all']['models'].values()
    assert results['coverage']['summary']['all']['objects'] == 9 and [*both][0] == [*both][1]


@pytest.mark.parametrize('text', [FASTER_RCNN, RETINANET], ids=['two-stage', 'one-stage'])
def test_detector(text, images, tmp_path):
    """The number that is explained is the detection's score, and its gradient comes from where the detection is."""
    pytest.importorskip('mmdet')
    config = write_config(tmp_path, text + PIPELINE.format('CocoDataset', 'PackDetInputs'))
    model = explain.ExplainedModel(config, saved(build(config), tmp_path))
    prepared = model.prepare_image(images[0][0])
    heat, answer = model.explain(prepared)
    assert model.method.__name__ == 'HiResCAM' and model.layer_name == 'backbone.layer4.1'
    assert heat.shape == prepared.image.shape[:2] == (96, 96)
    output = model.task(prepared.batch)[0]
    assert answer.score == output.scores.max().item() == answer.target(output).item()
    assert answer.label == output.labels[output.scores.argmax()] and answer.outline.any()
    other = model.explain(prepared, 1 - answer.label)[1]
    assert other.label == 1 - answer.label and other.score < answer.score
    # Asked for the object in a box: the detection there.
    rows, columns = np.nonzero(answer.outline)
    assert model.explain(prepared, answer.label, answer.outline)[1].score == answer.score
    nowhere = np.zeros((96, 96), bool)
    nowhere[0, 0] = True
    assert model.explain(prepared, answer.label, nowhere) == (None, None)


def test_detection_target():
    from mmengine.structures import InstanceData
    boxes = torch.tensor([[0., 0, 10, 10], [1, 0, 10, 10], [20, 20, 30, 30], [0, 0, 10, 10]])
    output = InstanceData(bboxes=boxes, labels=torch.tensor([1, 1, 1, 0]),
                          scores=torch.tensor([.3, .4, .9, .8], requires_grad=True))
    assert targets.DetectionTarget(1, boxes[0])(output).item() == pytest.approx(.4)
    assert targets.DetectionTarget(0, boxes[2])(output).item() == 0


@pytest.mark.slow
@pytest.mark.parametrize('channels', [2, 1])
def test_segmentor(channels, images, tmp_path):
    pytest.importorskip('mmseg')
    text = SEGMENTOR.replace('num_convs=1', 'num_convs=1, out_channels=1, threshold=.5') if channels == 1 else SEGMENTOR
    config = write_config(tmp_path, text)
    model = explain.ExplainedModel(config, saved(build(config), tmp_path))
    prepared = model.prepare_image(images[0][0])
    logits = model.task(prepared.batch)[0]
    assert logits.shape == (2, 96, 96)
    model.model.decode_head.conv_seg.bias[-1] -= (logits[1] - logits[0]).median()  # half of the pixels are of class 1
    logits = model.task(prepared.batch)[0]
    mask = (logits.argmax(0) == 1).numpy()
    heat, answer = model.explain(prepared)
    assert answer.label == 1 and np.array_equal(answer.outline, mask) and answer.score == pytest.approx(mask.mean())
    assert answer.target(logits).item() == pytest.approx(logits[1][torch.from_numpy(mask)].sum().item(), rel=1e-4)
    assert heat.shape == (96, 96)
    region = np.zeros((96, 96), bool)
    region[:40] = True
    assert np.array_equal(model.explain(prepared, 1, region)[1].outline, mask & region)


@pytest.mark.slow
def test_errors_name_the_argument(stripes, images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config, checkpoint = stripes
    image, boxes = str(images[0][0]), str(images[1])
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'text.jpg').write_text('no image')
    (tmp_path / 'cut.png').write_bytes(images[0][0].read_bytes()[:2000])
    (tmp_path / 'list.json').write_text('[1, 2]')
    (tmp_path / 'others.json').write_text(boxes and images[1].read_text().replace('upright', 'x').replace('level', 'y'))
    pose = tmp_path / 'pose.py'
    pose.write_text("default_scope = 'mmpose'\nmodel = dict()\n")
    other = tmp_path / 'other.pth'
    state = torch.load(checkpoint)['state_dict']
    torch.save(dict(state_dict={key: value for key, value in state.items() if 'head' not in key}), other)

    for arguments, message in (
        ([config, checkpoint, 'empty'], "folder 'empty' has no image in it"),
        ([config, checkpoint, 'nothing.jpg'], "image 'nothing.jpg' does not exist"),
        ([config, checkpoint, 'text.jpg'], "image 'text.jpg' is not an image"),
        ([config, checkpoint, 'cut.png'], "image 'cut.png' is cut off"),
        (['nothing.py', checkpoint, image], "config 'nothing.py' does not exist"),
        ([str(pose), checkpoint, image], 'is one of mmpose; maps are made of models of mmpretrain, mmseg, mmdet'),
        ([config, 'nothing.pth', image], "checkpoint 'nothing.pth' does not exist"),
        ([config, str(other), image], f"checkpoint '{other}' does not fit config '{config}'"),
        ([config, checkpoint, image, '--target-layer', 'backbone.layer4.7'], 'did you mean backbone.layer4'),
        ([config, checkpoint, image, '--target-layer', 'head.fc'], 'does not return a map'),
        ([config, checkpoint, image, '--target-layer', 'head.loss_module'], 'runs 0 times'),
        ([config, checkpoint, image, '--method', 'CAM'], '--method CAM: must be one of'),
        ([config, checkpoint, image, '--class', 'uprite'], 'did you mean upright'),
        ([config, checkpoint, image, '--class', '2'], "--class 2: 'model' has no such class"),
        ([config, checkpoint, image, '--boxes', 'nothing.json'], "--boxes: 'nothing.json' does not exist"),
        ([config, checkpoint, image, '--boxes', 'list.json'], "--boxes: 'list.json' is not in COCO's format"),
        ([config, checkpoint, image, '--boxes', 'others.json'], 'are not those of the models (level, upright'),
    ):
        with pytest.raises(SystemExit) as error:
            cam.main(arguments)
        assert message in str(error.value), arguments


def test_find_images(tmp_path):
    for name in ('b.PNG', 'a.jpg', 'notes.txt'):
        cv2.imwrite(str(tmp_path / 'x.png'), np.zeros((2, 3, 3), np.uint8))
        (tmp_path / 'x.png').rename(tmp_path / name)
    assert [path.name for path in find_images([tmp_path])] == ['a.jpg', 'b.PNG']
    assert read_image(tmp_path / 'b.PNG').shape == (2, 3, 3)
