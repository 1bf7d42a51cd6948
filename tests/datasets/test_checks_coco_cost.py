"""The checks of a file of COCO train2017's size take less than 30 seconds of one core, most of it the JSON itself."""
import time

import pytest
from coco_generator import CLASSES, TRAIN2017, write_coco
from mmengine.config import ConfigDict

from res2net_mm.datasets.checks import check_data, lists

pytest.importorskip('mmdet')


def masks_config(path):
    """Trains and validates with masks on the same file."""
    data = dict(type='CocoDataset', ann_file=str(path), metainfo=dict(classes=CLASSES), pipeline=[
        dict(type='LoadAnnotations', with_bbox=True, with_mask=True)], filter_cfg=dict(min_size=32))
    return ConfigDict(default_scope='mmdet', train_dataloader=dict(dataset=data), val_dataloader=dict(
        dataset=dict(data, test_mode=True)), val_evaluator=dict(
        type='CocoMetric', ann_file=str(path), metric=['bbox', 'segm']))


def test_a_file_of_several_datasets_is_read_once(tmp_path, monkeypatch):
    path, reads = tmp_path / 'small.json', []
    write_coco(path, images=20, annotations=160)
    loads = lists.json.loads
    monkeypatch.setattr(lists.json, 'loads', lambda text: reads.append(path) or loads(text))
    check_data(masks_config(path), ('train', 'val'))
    assert len(reads) == 1
    check_data(masks_config(path), ('train', ))
    assert len(reads) == 2, 'a file must not be kept after the checks, nor be taken for one that has changed'


@pytest.mark.soak
def test_train2017(tmp_path):
    path = tmp_path / 'large.json'
    write_coco(path, **TRAIN2017)
    cfg = masks_config(path)
    check_data(masks_config(tmp_path), ('train', ))  # so that importing mmdet is not measured
    start = time.process_time()
    check_data(cfg, ('train', ))
    seconds = time.process_time() - start
    print(f'{path.stat().st_size / 1e6:.0f} MB, {TRAIN2017["annotations"]} annotations: {seconds:.1f} s of CPU')
    assert seconds < 30
