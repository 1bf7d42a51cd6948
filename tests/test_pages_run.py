"""The pages for beginners, done from top to bottom as a reader would, with few images: `pytest -m documented -rP`."""
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from documented import Command, steps_of
from helpers import ROOT, write_image, write_saliency_pair

from res2net_mm import create, load_config
from res2net_mm.models.pretrained import SCHEME

PAGES = [ROOT / 'docs' / 'get_started.md', *sorted((ROOT / 'docs' / 'tasks').glob('*.md'))]
# What is added to the page's config so that its training ends soon; all take few images.
FEW_IMAGES = """
for loader in (train_dataloader, val_dataloader):
    loader.update(num_workers=0, persistent_workers=False)
    loader['dataset']['indices'] = 4
train_dataloader['batch_size'] = 2
"""
ONE_EPOCH = 'train_cfg = dict(max_epochs=1, val_interval=1)\n'
TWO_ITERATIONS = 'train_cfg = dict(max_iters=2, val_interval=2)\n'
SHORTER = {'detection': ONE_EPOCH, 'keypoints': ONE_EPOCH, 'classification': '', 'segmentation': TWO_ITERATIONS,
           'saliency': TWO_ITERATIONS.replace('2', '10')}  # an update of DSS is made of ten images


def write_faces(root):
    """Four images with five keypoints each for both splits, as docs/tasks/keypoints.md describes them."""
    for split in ('train', 'val'):
        images = [dict(id=i, file_name=f'{i}.jpg', width=96, height=96) for i in range(4)]
        points = [30, 40, 2, 40, 30, 2, 20, 30, 2, 50, 40, 2, 10, 40, 2]
        annotations = [dict(id=i, image_id=i, category_id=1, bbox=[8, 20, 50, 40], area=2000, iscrowd=0,
                            keypoints=points, num_keypoints=5) for i in range(4)]
        category = dict(id=1, name='face', keypoints=['nose', 'left_eye', 'right_eye', 'left_ear', 'right_ear'])
        for i in range(4):
            write_image(root / split / f'{i}.jpg', np.random.default_rng(i).integers(0, 255, (96, 96, 3), np.uint8))
        (root / 'annotations').mkdir(exist_ok=True)
        (root / 'annotations' / f'{split}.json').write_text(json.dumps(
            dict(images=images, annotations=annotations, categories=[category])))


def write_salient_objects(root):
    """A set with lists, as docs/tasks/saliency.md describes it."""
    for i in range(8):
        write_saliency_pair(root / 'Imgs' / f'{i}.jpg', root / 'Masks' / f'{i}.png', i, (96, 96))
    (root / 'train.txt').write_text('0\n1\n2\n3\n')
    (root / 'val.txt').write_text('4\n5\n6\n7\n')


DATA = {'keypoints': ('data/faces', write_faces), 'saliency': ('data/saliency/mine', write_salient_objects)}


def write_random_weights(folder, config):
    """The public weights that a config starts from, under their names, with random numbers."""
    checkpoint = (load_config(config).model.backbone.get('init_cfg') or {}).get('checkpoint', '')
    if checkpoint.startswith(SCHEME):
        name = checkpoint[len(SCHEME):]
        torch.save(create(name).state_dict(), folder / f'{name}.pth')


def last_checkpoint(config):
    """The file that the training of a config ended with."""
    return Path((Path('work_dirs') / Path(config).stem / 'last_checkpoint').read_text())


def with_checkpoint(words):
    """The words of a command, with the last checkpoint of its config for the page's placeholder or example."""
    return [str(last_checkpoint(words[1])) if word == 'FILE' or re.fullmatch(r'work_dirs/\w+/\w+_\d+\.pth', word)
            else word for word in words]


@pytest.mark.slow
@pytest.mark.documented
@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.stem)
def test_a_page_does_what_it_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('configs', 'demo', 'tools'):
        Path(name).symlink_to(ROOT / name)
    Path('weights').mkdir()
    if page.stem in DATA:
        place, write = DATA[page.stem]
        Path(place).mkdir(parents=True)
        write(Path(place))
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')]),
           'RES2NET_MM_WEIGHTS': str(Path('weights').resolve()), 'OMP_NUM_THREADS': '1'}
    done, left_out = [], []
    for step in steps_of(page, page.read_text(encoding='utf-8')):
        if not isinstance(step, Command):
            name, text = step
            Path(name).write_text(text + (FEW_IMAGES + SHORTER[page.stem] if 'train_dataloader' in text
                                          and page.stem in SHORTER else ''))
            write_random_weights(Path('weights'), name)
        elif 'needs' in step.note or step.words[0] == 'make' or step.words[:2] == ['-m', 'res2net_mm.doctor']:
            left_out.append(f'{step.text}: {step.note or "tested elsewhere"}')
        else:
            words = with_checkpoint(step.words)
            run = subprocess.run([sys.executable, *words], env=env, capture_output=True, text=True, timeout=1200)
            assert run.returncode == 0, f'{step}\n{run.stdout[-3000:]}{run.stderr[-3000:]}'
            done.append(step.text)
    print(f'{page.name}: {len(done)} commands were run, {len(left_out)} were not:', *left_out, sep='\n  ')
    assert len(done) >= 6
    shutil.rmtree('work_dirs')
