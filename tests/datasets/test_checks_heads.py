"""A dataset against the heads of the model: numbers of classes, keypoints and labels, and their order."""
import copy
import re

import pytest
from helpers import on_meta
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, init_default_scope

from res2net_mm.datasets.checks import BuiltModel, BuiltSplit
from res2net_mm.datasets.checks.configs import dataset_configs
from res2net_mm.datasets.checks.heads import check_heads, config_key, head_numbers
from res2net_mm.utils.config import load_config

pytest.importorskip('mmdet')
NUMBERS = ('num_classes', 'num_things_classes', 'num_stuff_classes', 'num_keypoints', 'out_channels', 'num_joints')


def without_weights(value):
    """A config of a model without the weights that it starts from."""
    if isinstance(value, (list, tuple)):
        return type(value)(map(without_weights, value))
    if not isinstance(value, dict):
        return value
    return type(value)({key: without_weights(item) for key, item in value.items()
                        if key not in ('init_cfg', 'pretrained')})


def built(cfg):
    """The model of a config, without memory, and its training and validation data, without files."""
    init_default_scope(cfg.default_scope)
    model = copy.deepcopy(without_weights(cfg.model))
    if cfg.get('data_preprocessor'):
        model.setdefault('data_preprocessor', cfg.data_preprocessor)
    for dataset in (*dataset_configs(cfg, 'train'), *dataset_configs(cfg, 'val')):
        if 'Panoptic' in dataset['type']:
            dataset['pipeline'] = []  # it would need the package panopticapi
    splits = [BuiltSplit(name, [DATASETS.build(dict(dataset, lazy_init=True))
                                for dataset in dataset_configs(cfg, name)]) for name in ('train', 'val')]
    # Stochastic depth of mmpretrain's backbones asks a tensor for its value.
    module = MODELS.build(model) if cfg.default_scope == 'mmpretrain' else on_meta(MODELS.build, model)
    return BuiltModel(module, cfg), splits


def fatal(found):
    return [problem.message for problem in found if problem.fatal]


# A config for each family of heads, and the keys that an option for the config may name.
FAMILIES = [
    ('mmdet::cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py',
     'model.roi_head.bbox_head.0.num_classes model.roi_head.bbox_head.1.num_classes '
     'model.roi_head.bbox_head.2.num_classes model.roi_head.mask_head.num_classes'),
    ('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py', 'model.bbox_head.num_classes'),
    ('mmseg::psanet/psanet_r50-d8_4xb2-40k_cityscapes-512x1024.py',
     'model.decode_head.num_classes model.auxiliary_head.num_classes'),
    ('mmpretrain::resnet/resnet50_8xb32_in1k.py', 'model.head.num_classes'),
    ('mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py', 'model.head.out_channels'),
]
MORE = [
    ('mmdet::detr/detr_r50_8xb2-150e_coco.py', 'model.bbox_head.num_classes'),
    ('mmdet::ssd/ssd300_coco.py', 'model.bbox_head.num_classes'),
    ('mmdet::solo/solo_r50_fpn_1x_coco.py', 'model.mask_head.num_classes'),
    ('mmdet::htc/htc_r50_fpn_1x_coco.py', None),
    ('mmdet::panoptic_fpn/panoptic-fpn_r101_fpn_1x_coco.py', None),
    ('mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py',
     'model.panoptic_head.num_things_classes model.panoptic_head.num_stuff_classes'),
    ('mmdet::seesaw_loss/mask-rcnn_r50_fpn_seesaw-loss_random-ms-2x_lvis-v1.py', None),
    ('mmseg::stdc/stdc1_4xb12-80k_cityscapes-512x1024.py', None),
    ('mmseg::knet/knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512.py', None),
    ('mmseg::hrnet/fcn_hr18_4xb2-40k_cityscapes-512x1024.py', 'model.decode_head.num_classes'),
    ('mmpretrain::vision_transformer/vit-base-p16_64xb64_in1k.py', None),
    ('mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_hrnet-w32_udp-regress-8xb64-210e_coco-256x192.py', None),
    ('mmpose::body_2d_keypoint/rtmpose/body8/rtmpose-s_8xb256-420e_body8-256x192.py', None),
    ('mmpose::body_2d_keypoint/topdown_regression/coco/td-reg_res50_rle-8xb64-210e_coco-256x192.py', None),
    ('mmpose::body_2d_keypoint/dekr/coco/dekr_hrnet-w32_8xb10-140e_coco-512x512.py', 'model.head.num_keypoints'),
]


@pytest.mark.parametrize(('name', 'keys'), [
    *FAMILIES, *(pytest.param(*row, marks=pytest.mark.slow) for row in MORE)])
def test_every_family_of_heads(name, keys):
    """Nothing is said of a toolbox's own config; each number of its heads is missed when it is another one."""
    pytest.importorskip(name.partition(':')[0])
    model, splits = built(load_config(name))
    assert list(check_heads(model, splits)) == []
    numbers = list(head_numbers(model))
    if keys:
        assert sorted({number.key for number in numbers}) == sorted(keys.split())
    assert numbers
    modules = [(config_key(model.config, path), module) for path, module in model.module.named_modules()]
    for number in numbers:
        argument = number.key.rpartition('.')[2]
        module = next(module for key, module in modules if key.endswith(number.part) and hasattr(module, argument))
        setattr(module, argument, number.number + 1)
        problem, = check_heads(model, splits)
        assert f'{number.key}={number.number}' in problem.message and f'{number.number + 1}' in problem.message
        setattr(module, argument, number.number)


def test_an_option_that_mends_it():
    """The message says what to give to --cfg-options, for all heads at once."""
    cfg = load_config(FAMILIES[0][0])
    for name in ('train', 'val'):
        cfg[f'{name}_dataloader'].dataset.metainfo = dict(classes=('cat', 'dog', 'bird'))
    model, splits = built(cfg)
    message, = fatal(check_heads(model, splits))
    assert message.startswith('the train and val data have 3 classes, but model.roi_head.bbox_head.0 has 80, ')
    options = re.search(r'set ((\S+=3 ?)+)$', message).group(1).split()
    assert options == [f'{key}=3' for key in FAMILIES[0][1].split()]
    cfg.merge_from_dict({key: int(value) for key, value in (option.split('=') for option in options)})
    assert list(check_heads(*built(cfg))) == []


def classifier(folder, num_classes, **options):
    data = dict(type='CustomDataset', data_root=str(folder), ann_file='list.txt', pipeline=[], **options)
    model = dict(type='ImageClassifier', backbone=dict(type='ResNet', depth=18),
                 head=dict(type='LinearClsHead', num_classes=num_classes, in_channels=512))
    return Config(dict(default_scope='mmpretrain', model=model, train_dataloader=dict(dataset=data),
                       val_dataloader=dict(dataset=copy.deepcopy(data))))


def find(cfg):
    """Problems of datasets that are read."""
    model, _ = built(cfg)
    return list(check_heads(model, [
        BuiltSplit(name, [DATASETS.build(cfg[f'{name}_dataloader'].dataset)]) for name in ('train', 'val')]))


def test_labels_of_a_set_without_names_of_classes(tmp_path):
    pytest.importorskip('mmpretrain')
    (tmp_path / 'list.txt').write_text('a.jpg 0\nb.jpg 4\nc.jpg 2\n')
    message, = fatal(find(classifier(tmp_path, 3)))
    assert message == ('the train and val data have the label 4, so 5 classes or more, but model.head has 3: '
                       'set model.head.num_classes=5')
    assert find(classifier(tmp_path, 5)) == find(classifier(tmp_path, 9)) == []


def test_more_outputs_than_classes(tmp_path):
    """A classifier can be trained so: it is a warning."""
    pytest.importorskip('mmpretrain')
    (tmp_path / 'list.txt').write_text('a.jpg 0\n')
    problem, = find(classifier(tmp_path, 9, metainfo=dict(classes=('a', 'b'))))
    assert not problem.fatal and 'model.head has 9: set model.head.num_classes=2' in problem.message


@pytest.mark.parametrize(('classes', 'fatally', 'message'), [
    (('dog', 'cat'), True, 'cat is number 0 and 1'),
    (('cat', 'dog', 'bird'), True, '(2 and 3)'),
    (('Cat', 'dog'), False, 'the numbers count'),
])
def test_sets_that_number_their_classes_differently(classes, fatally, message, tmp_path):
    pytest.importorskip('mmpretrain')
    (tmp_path / 'list.txt').write_text('a.jpg 0\n')
    cfg = classifier(tmp_path, 2, metainfo=dict(classes=('cat', 'dog')))
    cfg.val_dataloader.dataset.metainfo = dict(classes=classes)
    problem = find(cfg)[-1]
    assert 'the train and val data have different classes' in problem.message and message in problem.message
    assert problem.fatal == fatally


def test_classes_without_a_comma(tmp_path):
    pytest.importorskip('mmseg')
    cfg = load_config(FAMILIES[2][0])
    data = dict(type='BaseSegDataset', metainfo=dict(classes=('polyp')), pipeline=[])
    cfg.train_dataloader.dataset = cfg.val_dataloader.dataset = data
    message, = fatal(check_heads(*built(cfg)))
    assert "write classes=('polyp', ), with a comma" in message


def test_keypoints_in_another_order():
    pytest.importorskip('mmpose')
    cfg = load_config(FAMILIES[4][0])
    cfg.val_dataloader.dataset.type, cfg.val_dataloader.dataset.bbox_file = 'CrowdPoseDataset', None
    cfg.val_dataloader.dataset.metainfo = dict(from_file='configs/_base_/datasets/crowdpose.py')
    counts, order = fatal(check_heads(*built(cfg)))
    assert counts == 'the val data have 14 keypoints, but model.head has 17: set model.head.out_channels=14'
    assert 'train and val data have different keypoints' in order


def test_keys_of_a_semi_supervised_detector():
    cfg = dict(model=dict(detector=dict(roi_head=dict(bbox_head=dict(num_classes=80)))))
    assert config_key(cfg, 'student.roi_head.bbox_head') == 'model.detector.roi_head.bbox_head'
