"""Every experiment as it stands, at its full input size: a training step and a test step with its own pipeline.

    RES2NET_MM_FULL_SIZE=DIR python -m pytest tests/test_full_size.py      DIR: coco, sod, VOCdevkit/VOC{2007,2012}

Too slow for `make test`: half a minute a config on 2 cores. Random weights stand in for the pretrained ones.
"""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import EXPERIMENTS, TOOLS

from res2net_mm import load_config

DATA = os.environ.get('RES2NET_MM_FULL_SIZE')
OTHERS = ('upernet_', 'imagenet_', 'cifar', 'digits_', 'sizes_')  # on other data
LEAVES = [path for path in EXPERIMENTS if not path.name.startswith(OTHERS)]

pytestmark = [pytest.mark.slow,
              pytest.mark.skipif(not DATA, reason='RES2NET_MM_FULL_SIZE names no folder of images')]


def data_root(path, tmp_path):
    if 'voc12aug' in path.name:
        return Path(DATA) / 'VOCdevkit' / 'VOC2012'
    if 'voc07' in path.name:
        return Path(DATA) / 'VOCdevkit'
    if path.name.startswith('dss_'):
        return Path(DATA) / 'sod'
    if path.name.startswith('htc_'):  # it also learns COCO-stuff: made up here, all one class
        return with_stuff(Path(DATA) / 'coco', tmp_path / 'coco')
    return Path(DATA) / 'coco'


def with_stuff(coco, folder):
    import numpy as np
    from PIL import Image
    folder.mkdir()
    for child in coco.iterdir():
        (folder / child.name).symlink_to(child.resolve())
    maps = folder / 'stuffthingmaps' / 'train2017'
    maps.mkdir(parents=True)
    for image in json.loads((coco / 'annotations' / 'instances_train2017.json').read_text())['images']:
        label = np.full((image['height'], image['width']), 92, np.uint8)
        Image.fromarray(label).save(maps / image['file_name'].replace('.jpg', '.png'))
    return folder


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.name)
def test_one_step_at_full_size(path, tmp_path):
    cfg = load_config(path)
    batch = 1 if cfg.default_scope == 'mmdet' else cfg.train_dataloader.batch_size
    iterations = 'max_iters' in cfg.train_cfg
    options = [
        'model.backbone.init_cfg=None', f'train_dataloader.batch_size={batch}', 'default_hooks.logger.interval=1',
        'train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False', 'val_dataloader.num_workers=0',
        'val_dataloader.persistent_workers=False', 'val_dataloader.dataset.indices=1', 'train_cfg.val_interval=1',
        'train_cfg.max_iters=1' if iterations else 'train_cfg.max_epochs=1',
    ]
    if not iterations:
        options.append(f'train_dataloader.dataset.indices={batch}')
    if path.name.startswith('dss_'):
        options += [f'{split}_dataloader.dataset.sets=[MSRA-B]' for split in ('train', 'val')]  # without its lists
    if cfg.default_scope == 'mmdet':
        options.append('model.backbone.frozen_stages=-1')
        if '_c4_' in path.name:
            options.append('model.roi_head.shared_head.init_cfg=None')
    result = subprocess.run(
        [sys.executable, TOOLS / 'train.py', path, '--device', 'cpu', '--data-root',
         data_root(path, tmp_path), '--work-dir', tmp_path / 'run', '--cfg-options', *options],
        capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-1000:] + result.stderr[-3000:]
    rows = [json.loads(line) for file in (tmp_path / 'run').glob('*/vis_data/scalars.json')
            for line in file.read_text().splitlines()]
    losses = [row['loss'] for row in rows if 'loss' in row]
    assert len(losses) == 1 and losses[0] > 0 and losses[0] < float('inf')
    assert 'Epoch(val)' in result.stdout + result.stderr or 'Iter(val)' in result.stdout + result.stderr
