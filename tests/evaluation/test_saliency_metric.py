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
