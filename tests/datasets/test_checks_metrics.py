"""Metrics whose settings contradict the data or the model: each would end the run after its first epoch."""
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import detection_config, segmentation_config
from mmengine.config import DictAction
from mmengine.registry import DATASETS, METRICS, MODELS, init_default_scope

from res2net_mm.datasets.checks import BuiltModel, BuiltSplit
from res2net_mm.datasets.checks.metrics import check_metrics

pytest.importorskip('mmdet')


def classifier(**head):
    pytest.importorskip('mmpretrain')
    init_default_scope('mmpretrain')
    return MODELS.build(dict(type='ImageClassifier', backbone=dict(type='LeNet5'), head=dict(
        type='LinearClsHead', num_classes=3, in_channels=84, **head)))


def find(metric, module, dataset=None, several=False):
    """What is said of a metric of the validation set."""
    metric = METRICS.build(metric) if isinstance(metric, dict) else metric
    config = dict(val_evaluator=[{}] if several else {})
    return [problem.message for problem in check_metrics(BuiltModel(module, config), [
        BuiltSplit('val', [] if dataset is None else [dataset], [metric])])]


@pytest.mark.parametrize(('several', 'key'), [(False, 'val_evaluator.topk'), (True, 'val_evaluator.0.topk')])
def test_top_5_of_3_classes(several, key):
    """What the message says to set is what mends it, as --cfg-options reads it."""
    module, metric = classifier(), dict(type='Accuracy', topk=(1, 5))
    message, = find(metric, module, several=several)
    assert message.endswith(f'and there are 3: set "{key}=(1,)"')
    with pytest.raises(ValueError, match='Top-5 accuracy is unavailable'):
        METRICS.build(metric).calculate(torch.rand(4, 3), torch.zeros(4), (1, 5))
    topk = DictAction._parse_iterable(message.split('=')[-1].strip('"'))
    assert topk == (1, ) and find(dict(metric, topk=topk), module) == []
    assert find(dict(metric, topk=(1, 3)), module) == []


def test_top_5_of_3_classes_while_training():
    message, = find(dict(type='Accuracy'), classifier(cal_acc=True, topk=(1, 2, 5)))
    assert message.endswith('set "model.head.topk=(1,2,)"')
    assert find(dict(type='Accuracy'), classifier(topk=(1, 5))) == []  # it logs no accuracy


@pytest.mark.parametrize(('kind', 'good', 'bad'), [
    ('SingleLabelMetric', ('macro', 'micro', None), 'none'), ('MultiLabelMetric', ('macro', None), 'classwise'),
    ('AveragePrecision', ('macro', None), 'micro'),
])
def test_how_scores_are_averaged(kind, good, bad):
    module = classifier()
    for average in good:
        assert find(dict(type=kind, average=average), module) == []
    message, = find(dict(type=kind, average=bad), module)
    assert f'average={bad!r} must be one of' in message
    scores = torch.rand(4, 3)
    with pytest.raises(AssertionError, match='Invalid `average`'):
        METRICS.build(dict(type=kind)).calculate(
            scores, torch.zeros(4) if kind == 'SingleLabelMetric' else torch.ones(4, 3), average=bad)


def test_a_classification_set_without_labels(tmp_path):
    module = classifier()
    (tmp_path / 'a.jpg').touch()
    dataset = DATASETS.build(dict(type='CustomDataset', data_root=str(tmp_path), with_label=False, pipeline=[]))
    message, = find(dict(type='Accuracy'), module, dataset)
    assert 'set val_dataloader.dataset.with_label=True' in message


def segmentation_set(root, **options):
    data = segmentation_config(root, 'val').val_dataloader.dataset
    init_default_scope('mmseg')
    return DATASETS.build(dict(data, **options))


def test_iou(masks):
    module = torch.nn.Module()
    module.decode_head = torch.nn.ModuleList([SimpleNamespaceModule(ignore_index=0)])
    dataset = segmentation_set(masks)
    assert find(dict(type='IoUMetric', ignore_index=0), module, dataset) == []
    assert 'set val_evaluator.ignore_index=0' in find(dict(type='IoUMetric'), module, dataset)[0]
    message, = find(dict(type='IoUMetric', ignore_index=0, iou_metrics=['mIOU']), module, dataset)
    assert 'iou_metrics has mIOU; allowed are mIoU, mDice, mFscore' in message
    message, = find(dict(type='IoUMetric', ignore_index=0), module,
                    segmentation_set(masks, pipeline=[dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]))
    assert "loads none: put dict(type='LoadAnnotations') into it" in message


class SimpleNamespaceModule(torch.nn.Module):
    def __init__(self, **attributes):
        super().__init__()
        vars(self).update(attributes)


@pytest.fixture
def detector():
    init_default_scope('mmdet')
    from mmdet.models import BaseDetector

    class Detector(BaseDetector):
        def __init__(self):
            torch.nn.Module.__init__(self)
            self.roi_head = SimpleNamespaceModule(with_mask=False)

        def extract_feat(self, *_):
            pass

        _forward = loss = predict = extract_feat

    return Detector()


def detection_set(root, **options):
    data = detection_config(root, 'val', **options).val_dataloader.dataset
    init_default_scope('mmdet')
    return DATASETS.build(data)


def test_masks_that_no_head_predicts(detector, small_shapes):
    dataset = detection_set(small_shapes)
    metric = dict(type='CocoMetric', ann_file=dataset.ann_file, metric=['bbox', 'segm'])
    assert "has 'segm', but the model has no head for masks: set val_evaluator.metric=bbox" in find(
        metric, detector, dataset)[0]
    assert find(dict(metric, metric='bbox'), detector, dataset) == []
    detector.roi_head.with_mask = True
    assert find(metric, detector, dataset) == []
    detector.roi_head.with_mask, detector.panoptic_head = False, torch.nn.Identity()
    assert find(metric, detector, dataset) == []


def test_annotations_of_other_images(detector, small_shapes, tmp_path):
    dataset = detection_set(small_shapes)
    data = json.loads(Path(dataset.ann_file).read_text())
    for image in data['images']:
        image['id'] += 1
    for annotation in data['annotations']:
        annotation['image_id'] += 1
    (tmp_path / 'other.json').write_text(json.dumps(data))
    message, = find(dict(type='CocoMetric', ann_file=str(tmp_path / 'other.json')), detector, dataset)
    assert 'does not know 1 of the 3 images of val_dataloader, with the ids ' in message
    assert message.endswith(f'set val_evaluator.ann_file={dataset.ann_file}')
    fewer = detection_set(small_shapes, indices=2)
    message, = find(dict(type='CocoMetric', ann_file=dataset.ann_file), detector, fewer)
    assert 'has 1 images that val_dataloader does not have' in message


def test_detections_without_annotations(detector, small_shapes):
    pack = dict(type='PackDetInputs')
    metric = dict(type='CocoMetric')
    message, = find(metric, detector, with_pipeline(small_shapes, pack))
    assert 'has no ann_file' in message and 'instances_val2017.json' in message
    assert find(metric, detector, with_pipeline(small_shapes, dict(pack, meta_keys=('img_id', 'instances')))) == []
    message, = find(dict(type='VOCMetric'), detector, with_pipeline(small_shapes, pack))
    assert "put dict(type='LoadAnnotations') into it" in message


def with_pipeline(root, *steps):
    data = detection_config(root, 'val').val_dataloader.dataset
    init_default_scope('mmdet')
    return DATASETS.build(dict(data, pipeline=[dict(type='LoadImageFromFile'), *steps]))


def test_poses():
    pytest.importorskip('mmpose')
    init_default_scope('mmpose')
    metric = METRICS.build(dict(type='CocoMetric'))
    metric._dataset_meta = dict(num_keypoints=3, sigmas=np.ones(2))
    assert 'has 3 keypoints and 2 sigmas' in find(metric, torch.nn.Module())[0]
    metric._dataset_meta = dict(num_keypoints=3, sigmas=np.ones(3))
    assert find(metric, torch.nn.Module()) == []


def test_distances_by_the_size_of_a_head(tmp_path):
    pytest.importorskip('mmpose')
    init_default_scope('mmpose')
    person = dict(id=1, image_id=1, category_id=1, iscrowd=0, area=99., bbox=[1, 1, 9, 9], num_keypoints=17,
                  keypoints=17 * [3, 3, 2])
    (tmp_path / 'people.json').write_text(json.dumps(dict(
        images=[dict(id=1, file_name='a.jpg', height=48, width=64)], annotations=[person],
        categories=[dict(id=1, name='person')])))
    dataset = DATASETS.build(dict(type='CocoDataset', ann_file=str(tmp_path / 'people.json'), pipeline=[]))
    message, = find(dict(type='PCKAccuracy', norm_item='head'), torch.nn.Module(), dataset)
    assert "norm_item='head' needs head_size" in message
    assert find(dict(type='PCKAccuracy'), torch.nn.Module(), dataset) == []
