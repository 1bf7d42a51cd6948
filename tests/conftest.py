import os
import random
import shutil
import sys
from pathlib import Path

os.environ.setdefault('CUDA_VISIBLE_DEVICES', '')  # the tests are for the CPU, wherever they run
import cv2  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from helpers import SALIENCY_SIZES, write_config_styles, write_saliency_pair  # noqa: E402
from mmengine.utils import ManagerMixin  # noqa: E402

from res2net_mm.checkpoints.files import uninstall_reader  # noqa: E402
from res2net_mm.datasets.shapes import write_shapes  # noqa: E402


@pytest.fixture(autouse=True)
def seeded():
    """Every test draws the same random numbers, whatever ran before it: from PyTorch, and as pipelines do."""
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)


@pytest.fixture(autouse=True)
def forgotten_runs():
    """Let no test see the default scope, logger, message hub or visualizer of a run before it.

    mmengine keeps them by name for the whole process: of two configs of mmseg, whose visualizers are both called
    'visualizer', the second would write its losses into the work directory of the first. The commands also install
    our reader of checkpoints for the whole process.
    """
    forget_runs()  # also that of a fixture of the whole module
    yield
    forget_runs()


def forget_runs():
    uninstall_reader()
    kinds = [ManagerMixin]
    while kinds:
        kind = kinds.pop()
        kind._instance_dict.clear()
        kinds += kind.__subclasses__()


@pytest.fixture(scope='session')
def shapes(tmp_path_factory):
    """A handful of generated images in COCO's layout; tests change copies of it only."""
    root = tmp_path_factory.mktemp('shapes')
    write_shapes(root, train=6, val=3)
    return root


@pytest.fixture(scope='session')
def small_shapes(tmp_path_factory):
    """The same, with smaller images."""
    root = tmp_path_factory.mktemp('shapes')
    write_shapes(root, train=6, val=3, image_size=192)
    return root


@pytest.fixture(scope='session')
def config_styles(tmp_path_factory):
    """One config of a detector in the two styles of mmengine's, with names of classes and with classes."""
    pytest.importorskip('mmdet')
    folder = tmp_path_factory.mktemp('styles')
    sys.path.insert(0, str(folder))
    yield write_config_styles(folder)
    sys.path.remove(str(folder))


@pytest.fixture
def broken_shapes(small_shapes, tmp_path):
    """A copy to break."""
    return Path(shutil.copytree(small_shapes, tmp_path / 'shapes'))


@pytest.fixture
def image(tmp_path):
    """An image of 48 x 64 pixels as JPEG."""
    path = tmp_path / 'image.jpg'
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8))
    return path


@pytest.fixture
def masks(tmp_path):
    """Three images of 48 x 64 pixels with masks of two classes, in the layout of VOC's segmentation."""
    for folder in ('JPEGImages', 'SegmentationClass'):
        (tmp_path / folder).mkdir()
    for name in 'abc':
        cv2.imwrite(str(tmp_path / 'JPEGImages' / f'{name}.jpg'), np.full((48, 64, 3), 99, np.uint8))
        mask = np.zeros((48, 64), np.uint8)
        mask[10:20, 10:30], mask[0] = 1, 255
        cv2.imwrite(str(tmp_path / 'SegmentationClass' / f'{name}.png'), mask)
    (tmp_path / 'names.txt').write_text('a\nb\nc\n')
    return tmp_path


@pytest.fixture(scope='session')
def saliency_sets(tmp_path_factory):
    """Five sets of five images or fewer with their salient objects, in five layouts; tests change copies only."""
    root = tmp_path_factory.mktemp('saliency')
    layouts = {
        'MSRA-B': ('Imgs', 'Imgs', 5), 'ECSSD': ('images', 'ground_truth_mask', 5), 'PASCAL-S': ('Imgs', 'Masks', 2),
        'HKU-IS': ('imgs', 'gt', 3), 'DUTOMRON': ('DUT-OMRON-image', 'pixelwiseGT-new-PNG', 2),
    }
    for i, (name, (images, masks, count)) in enumerate(layouts.items()):
        for j in range(count):
            suffix = 'png' if name == 'HKU-IS' else 'jpg'
            write_saliency_pair(root / name / images / f'{name[0]}{j}.{suffix}',
                                root / name / masks / f'{name[0]}{j}.png', 10 * i + j, SALIENCY_SIZES[j])
    (root / 'MSRA-B' / 'train.txt').write_text('M0\nM1.jpg\nM2\n')
    (root / 'MSRA-B' / 'val.txt').write_text('M3\nM4\n')
    return root


@pytest.fixture
def broken_sets(saliency_sets, tmp_path):
    """A copy to break."""
    return Path(shutil.copytree(saliency_sets, tmp_path / 'sets'))


@pytest.fixture
def bccd(tmp_path):
    """A folder laid out as the dataset BCCD: an image to train on, two held out."""
    folder = tmp_path / 'bccd' / 'BCCD'
    for name in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
        (folder / name).mkdir(parents=True)
    cell = ('<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>'
            '</object>')
    cells = {'a': [('RBC', 1, 1, 40, 30)], 'b': [('WBC', 0, 11, 64, 48), ('Platelets', 5, 5, 5, 4)],
             'c': [('Platelets', 60, 40, 70, 50)]}
    for name, rows in cells.items():
        cv2.imwrite(str(folder / 'JPEGImages' / f'{name}.jpg'), np.zeros((48, 64, 3), np.uint8))
        (folder / 'Annotations' / f'{name}.xml').write_text(
            '<annotation><size><width>64</width><height>48</height></size>'
            + ''.join(cell.format(*row) for row in rows) + '</annotation>')
    (folder / 'ImageSets' / 'Main' / 'trainval.txt').write_text('a\n')
    (folder / 'ImageSets' / 'Main' / 'test.txt').write_text('b\nc\n')
    return folder.parent
