"""The saliency metric: masks of every kind, and those that do not fit. Its numbers: tests/configs/test_saliency.py."""
import cv2
import numpy as np
import pytest
import torch
from helpers import BOX, write_image
from mmengine.registry import METRICS

pytest.importorskip('py_sod_metrics')


def test_metric_and_masks_of_other_kinds(tmp_path):
    """0/1 masks and masks with three channels count like 0/255 ones; an image with nothing salient has an F of 0."""
    metric = METRICS.build(dict(type='res2net_mm.SaliencyMetric', save_dir=str(tmp_path / 'maps')))
    saliency = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0))
    masks = dict(plain=255 * BOX, one=BOX, channels=np.dstack([255 * BOX] * 3), nothing=0 * BOX)
    for name, mask in masks.items():
        write_image(tmp_path / f'{name}.png', mask)
        metric.process(None, [dict(seg_logits=dict(data=saliency), seg_map_path=str(tmp_path / f'{name}.png'),
                                   img_path=f'{name}.jpg', set_name=name)])
    log = metric.evaluate(len(masks))
    for key in ('f_measure', 'f_of_mean', 'mae', 's_measure', 'e_measure', 'weighted_f'):
        assert log[f'one/{key}'] == log[f'channels/{key}'] == log[f'plain/{key}'] > 0
    assert log['nothing/f_measure'] == log['nothing/f_of_mean'] == log['nothing/weighted_f'] == 0
    saved = cv2.imread(str(tmp_path / 'maps' / 'one' / 'one.png'), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(saved, np.rint(255 * saliency[0].numpy()))

    write_image(tmp_path / 'wide.png', np.zeros((16, 17), np.uint8))
    write_image(tmp_path / 'wide.jpg', np.zeros((16, 16, 3), np.uint8))
    with pytest.raises(ValueError, match='wide.png is a mask of 16 x 17 pixels for an image of 16 x 16'):
        metric.process(None, [dict(seg_logits=dict(data=saliency), seg_map_path=str(tmp_path / 'wide.png'),
                                   img_path=str(tmp_path / 'wide.jpg'), set_name='ecssd')])
    with pytest.raises(ValueError, match='no set_name'):
        metric.process(None, [dict(seg_logits=dict(data=saliency), seg_map_path='')])


def score(metric, tmp_path, name, saliency, mask):
    write_image(tmp_path / f'{name}.png', 255 * mask.astype(np.uint8))
    metric.process(None, [dict(seg_logits=dict(data=torch.as_tensor(saliency)[None].float()),
                               seg_map_path=str(tmp_path / f'{name}.png'), img_path=f'{name}.jpg', set_name='set')])


def test_dice_and_iou(tmp_path):
    """Means over 256 thresholds and all images: of a map of two values, which every threshold above 0 cuts alike."""
    metric = METRICS.build(dict(type='res2net_mm.SaliencyMetric'))
    mask, found = np.zeros((16, 16), bool), np.zeros((16, 16))
    mask[:8, :8], found[:8, :4], found[8:, :2] = True, 1, 1  # 64 pixels are of the object, 48 are found, 32 of both
    score(metric, tmp_path, 'a', found, mask)
    one = metric.compute_metrics(metric.results)
    dice, iou, everything = 2 * 32 / (64 + 48), 32 / 80, 64 / 256
    assert one['set/mean_dice'] == pytest.approx((255 * dice + 2 * everything / (1 + everything)) / 256, abs=1e-3)
    assert one['set/mean_iou'] == pytest.approx((255 * iou + everything) / 256, abs=1e-3)
    score(metric, tmp_path, 'b', mask, mask)
    assert metric.evaluate(2)['set/mean_dice'] == pytest.approx((one['set/mean_dice'] + 1) / 2, abs=5e-3)


def test_scores_by_size(tmp_path):
    metric = METRICS.build(dict(type='res2net_mm.SaliencyMetric', by_size=True))
    for size, good in ((9, True), (3, False), (12, True), (4, False), (6, True), (5, False), (14, False)):
        mask = np.zeros((16, 16), bool)
        mask[:size, :size] = True
        score(metric, tmp_path, f'{size}', mask if good else ~mask, mask)
    log = metric.evaluate(7)
    # 3, 4 and 5 are small, 6 and 9 medium, 12 and 14 large.
    assert [log[f'set_{size}/mae'] for size in ('small', 'medium', 'large')] == [1, 0, 0.5]
    assert log['set/mae'] == pytest.approx(4 / 7) and {'set_small/f_measure', 'set_large/mean_iou'} <= log.keys()
    score(metric, tmp_path, 'one', np.ones((16, 16)), np.ones((16, 16), bool))
    assert not any('small' in name for name in metric.evaluate(1))  # too few for thirds
    with pytest.raises(ValueError, match='by_size'):
        METRICS.build(dict(type='res2net_mm.SaliencyMetric', by_size='yes'))
