"""Images that could not be used count as wrongly predicted, in the metrics of every toolbox."""
import cv2
import numpy as np
import pytest
import torch
from helpers import saliency_sample, write_image
from mmengine.dataset import Compose
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.registry import METRICS, init_default_scope
from mmengine.structures import BaseDataElement, InstanceData, PixelData

from res2net_mm.datasets.checks import BadDataError, BuiltSplit
from res2net_mm.datasets.transforms import EvaluationPipeline, guard_evaluation
from res2net_mm.evaluation import CountBadImages
from res2net_mm.utils.errors import UserError
from res2net_mm.utils.images import BAD_IMAGE


def evaluate(scope, metric, samples, dataset_meta=None, batch=None):
    """The scores of samples whose images are good, and then of the same where all but the first are bad."""
    init_default_scope(scope)
    scores = []
    for bad in (False, True):
        evaluator = CountBadImages(Evaluator(METRICS.build(dict(metric)) if isinstance(metric, dict) else metric()))
        evaluator.dataset_meta = dataset_meta
        copies = [sample.clone() for sample in samples]
        if bad:
            for i, sample in enumerate(copies[1:]):
                sample.set_metainfo({BAD_IMAGE: f'{i}.jpg is bad'})
        evaluator.process(copies, batch)
        scores.append(evaluator.evaluate(len(samples)))
    return scores


@pytest.mark.parametrize('multiple', [False, True])
def test_classes(multiple):
    structures = pytest.importorskip('mmpretrain.structures')
    samples = []
    for label in range(4):
        sample = structures.DataSample().set_gt_label(label).set_pred_score(torch.eye(7)[label]).set_pred_label(label)
        samples.append(sample.set_gt_score(torch.eye(7)[label]) if multiple else sample)
    if multiple:
        good, bad = evaluate('mmpretrain', dict(type='MultiLabelMetric', average='micro', items=('recall', )), samples)
        assert good['multi-label/recall_micro'] == 100 and bad['multi-label/recall_micro'] == 25
        return
    good, bad = evaluate('mmpretrain', dict(type='Accuracy', topk=(1, 5)), samples)
    assert good == {'accuracy/top1': 100, 'accuracy/top5': 100} and bad == {'accuracy/top1': 25, 'accuracy/top5': 25}
    good, bad = evaluate('mmpretrain', dict(type='SingleLabelMetric', average='micro', items=('recall', )), samples)
    assert good['single-label/recall_micro'] == 100 and bad['single-label/recall_micro'] == 25


def test_detections():
    structures = pytest.importorskip('mmdet.structures')
    samples = []
    for i in range(4):
        sample = structures.DetDataSample(metainfo=dict(img_id=i, ori_shape=(64, 64), img_path=f'{i}'))
        sample.gt_instances = InstanceData(bboxes=torch.tensor([[5., 5, 25, 25]]), labels=torch.tensor([0]))
        sample.ignored_instances = sample.gt_instances[:0]
        sample.pred_instances = InstanceData(bboxes=torch.tensor([[5., 5, 25, 25]]), labels=torch.tensor([0]),
                                             scores=torch.tensor([0.9]), masks=torch.ones(1, 64, 64, dtype=torch.bool))
        samples.append(sample)
    good, bad = evaluate('mmdet', dict(type='VOCMetric', metric='mAP', eval_mode='area'), samples,
                         dict(classes=('thing', ), dataset_type='VOC2012'))
    assert good['pascal_voc/mAP'] == 1 and bad['pascal_voc/mAP'] == 0.25  # no false detections


def test_pixels():
    structures = pytest.importorskip('mmseg.structures')
    labels = torch.tensor([[0, 1], [1, 255]])[None]
    samples = [structures.SegDataSample(gt_sem_seg=PixelData(data=labels), metainfo=dict(img_path='a.png'),
                                        pred_sem_seg=PixelData(data=labels.clip(max=1)),
                                        seg_logits=PixelData(data=torch.ones(2, 2, 2))) for _ in range(4)]
    good, bad = evaluate('mmseg', dict(type='IoUMetric'), samples, dict(classes=('a', 'b')))
    assert good['aAcc'] == good['mIoU'] == 100 and bad['aAcc'] == bad['mIoU'] == 25


def test_salient_objects(tmp_path):
    pytest.importorskip('mmseg')
    pytest.importorskip('py_sod_metrics')
    mask = np.zeros((64, 64), np.uint8)
    mask[9:40, 20:50] = 255
    write_image(tmp_path / 'mask.png', mask)
    sample = saliency_sample(torch.zeros(64, 64), img_path='image.jpg', seg_map_path=str(tmp_path / 'mask.png'),
                             set_name='set')
    sample.seg_logits = PixelData(data=torch.from_numpy(mask)[None] / 255.)
    good, bad = evaluate('mmseg', dict(type='res2net_mm.SaliencyMetric'), [sample] * 4)
    assert good['set/mae'] == 0 and bad['set/mae'] == pytest.approx(0.75 * (mask > 0).mean(), abs=1e-6)
    assert good['set/f_measure'] == pytest.approx(1) and bad['set/f_measure'] < 0.5


def test_keypoints():
    structures = pytest.importorskip('mmpose.structures')
    samples = []
    for _ in range(4):
        points = np.random.default_rng(0).uniform(10, 90, (1, 17, 2)).astype(np.float32)
        sample = structures.PoseDataSample(metainfo=dict(img_path='a.jpg'))
        sample.gt_instances = InstanceData(keypoints=points, keypoints_visible=np.ones((1, 17)),
                                           bboxes=np.array([[0., 0, 99, 99]]))
        sample.pred_instances = InstanceData(keypoints=points, keypoint_scores=np.ones((1, 17), np.float32))
        samples.append(sample)
    good, bad = evaluate('mmpose', dict(type='PCKAccuracy', thr=0.2), samples)
    assert good['PCK'] == pytest.approx(1) and bad['PCK'] == pytest.approx(0.25)


class Count(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        return dict(count=len(results))


def test_bad_images_are_listed(monkeypatch):
    """Once, those of all processes, and nothing if there are none."""
    pytest.importorskip('mmseg')
    said = []
    monkeypatch.setattr('res2net_mm.evaluation.bad_images.print_log', lambda text, **settings: said.append(text))
    sample = saliency_sample(torch.zeros(2, 2))
    sample.seg_logits = PixelData(data=torch.zeros(1, 2, 2))
    assert evaluate('mmseg', Count, [sample] * 8) == [dict(count=8)] * 2
    assert said == ['7 bad images count as wrongly predicted:\n  ' + '\n  '.join(
        [f'{i}.jpg is bad' for i in range(5)] + ['... and 2 more'])]
    monkeypatch.setattr('res2net_mm.evaluation.bad_images.all_gather_object',
                        lambda part: [part, ['9', '0.jpg is bad']])
    evaluate('mmseg', Count, [sample] * 2)
    assert said[-1] == '2 bad images count as wrongly predicted:\n  0.jpg is bad\n  9'


def test_unknown_prediction():
    evaluator = CountBadImages(Evaluator(Count()))
    with pytest.raises(UserError, match='--bad-images count-as-wrong: not known is what is wrong in a BaseDataElement'):
        evaluator.process([BaseDataElement(metainfo={BAD_IMAGE: 'a'})])


# The pipeline.


class Failing:
    """A transform that fails with images of 48 x 64 pixels, as a resize to nothing does."""

    def __call__(self, results):
        if results['img'].shape[:2] == (48, 64):
            raise ValueError('no such size')
        return results


PACKING = {
    'mmpretrain': (dict(type='LoadImageFromFile'), [dict(type='ResizeEdge', scale=64), dict(type='PackInputs')]),
    'mmdet': (dict(type='LoadImageFromFile', to_float32=True),
              [dict(type='Resize', scale=(96, 64), keep_ratio=True), dict(type='PackDetInputs')]),
    'mmseg': (dict(type='LoadImageFromFile', color_type='grayscale'),
              [dict(type='Resize', scale=(96, 64), keep_ratio=True), dict(type='LoadAnnotations'),
               dict(type='PackSegInputs')]),
    'mmpose': (dict(type='LoadImage'), [dict(type='PackPoseInputs')]),
}


@pytest.mark.parametrize('scope', PACKING)
def test_grey_image_takes_its_place(scope, image):
    """Its sample is marked, and has the size of the annotations, whatever failed."""
    pytest.importorskip(scope)
    from mmengine.registry import TRANSFORMS
    init_default_scope(scope)
    cv2.imwrite(str(image.with_suffix('.png')), np.zeros((48, 64), np.uint8))
    load, others = PACKING[scope]
    pipeline = EvaluationPipeline(Compose(list(map(TRANSFORMS.build, [load, *others]))), replace=True)
    given = dict(img_path=str(image), img_id=0, gt_label=1, seg_map_path=str(image.with_suffix('.png')),
                 reduce_zero_label=False, seg_fields=[])
    if scope == 'mmdet':
        given.update(height=48, width=64)
    good = pipeline(dict(given))['data_samples']
    assert BAD_IMAGE not in good.metainfo
    pipeline.known_defects[str(image)] = 'is bad'
    packed = pipeline(dict(given))
    assert packed['data_samples'].metainfo[BAD_IMAGE] == f'{image} is bad'
    assert len(packed['inputs']) == (1 if scope == 'mmseg' else 3)
    if scope in ('mmdet', 'mmseg'):
        assert packed['data_samples'].ori_shape == good.ori_shape == (48, 64)
    pipeline.known_defects.clear()
    pipeline.transforms.insert(1, Failing())
    packed = pipeline(dict(given))
    assert packed['data_samples'].metainfo[BAD_IMAGE] == f'{image} cannot be used: ValueError: no such size'


def test_failure_is_one_sentence(image):
    """It names the image, and the option of tools/test.py where there is one."""
    pytest.importorskip('mmpretrain')
    from mmengine.registry import DATASETS
    (image.parent / 'list.txt').write_text('image.jpg 0\n')
    init_default_scope('mmpretrain')
    for name, end in (('val', 'no such size$'), ('test', 'no such size; to count it .* --bad-images count-as-wrong$')):
        dataset = DATASETS.build(dict(
            type='CustomDataset', data_root=str(image.parent), ann_file='list.txt', data_prefix='', test_mode=True,
            pipeline=[dict(type='LoadImageFromFile')]))
        guard_evaluation(BuiltSplit(name, [dataset]))
        assert dataset[0]['img'].shape == (48, 64, 3)
        dataset.pipeline.transforms.append(Failing())
        with pytest.raises(BadDataError, match=f'image.jpg cannot be used: ValueError: {end}'):
            dataset[0]
