"""Folders of saliency sets: the known layouts, lists of images, and images that are in two sets."""
import shutil
from pathlib import Path

import pytest
from mmengine.registry import DATASETS

from res2net_mm.datasets.checks import BadDataError
from res2net_mm.datasets.saliency_folders import find_duplicates, find_pairs
from res2net_mm.utils.masks import read_mask

pytest.importorskip('mmseg')


def test_layouts(saliency_sets):
    for name, count in {'MSRA-B': 5, 'ECSSD': 5, 'PASCAL-S': 2, 'HKU-IS': 3, 'DUT-OMRON': 2}.items():
        pairs = find_pairs(saliency_sets, name)
        assert len(pairs) == count
        for image, mask in pairs:
            assert image.is_file() and mask.is_file() and image.stem == mask.stem and image != mask
            assert 0 < read_mask(mask).mean() < 0.5
    assert [image.stem for image, _ in find_pairs(saliency_sets, 'MSRA-B:train.txt')] == ['M0', 'M1', 'M2']


@pytest.mark.parametrize('entry, message', [
    ('ECSD', r"no set 'ECSD'.*DUTOMRON, ECSSD.*known sets are MSRA-B, ECSSD, PASCAL-S, HKU-IS, DUT-OMRON, DUTS-TR"),
    ('SOD', "no set 'SOD'"),
    ('MSRA-B:test.txt', 'MSRA-B/test.txt does not exist: it lists images of MSRA-B'),
    ('MSRA-B:leaked.txt', r"line 2: 'ECSSD/images/E0.jpg' has folders in it"),
    ('EMPTY', 'has no images'),
    ('STRANGE', 'must have images in Imgs/ and masks in Masks/.*it has pictures'),
])
def test_unknown_set_or_list(entry, message, broken_sets):
    (broken_sets / 'MSRA-B' / 'leaked.txt').write_text('M0\nECSSD/images/E0.jpg\n')
    for folder in ('EMPTY/Imgs', 'EMPTY/Masks', 'STRANGE/pictures'):
        (broken_sets / folder).mkdir(parents=True)
    with pytest.raises(BadDataError, match=message):
        DATASETS.build(dict(type='res2net_mm.SaliencyDataset', sets=(entry, ), data_root=str(broken_sets)))


def test_no_folder_of_sets():
    with pytest.raises(BadDataError, match='nowhere.*does not exist'):
        find_pairs('nowhere', 'ECSSD')
    with pytest.raises(ValueError, match="sets='ECSSD' must be a sequence"):
        DATASETS.build(dict(type='res2net_mm.SaliencyDataset', sets='ECSSD'))


def test_duplicates(broken_sets):
    images = [image for image, _ in find_pairs(broken_sets, 'MSRA-B')]
    copy = Path(shutil.copy(images[3], broken_sets / 'copy.jpg'))
    others = [image for image, _ in find_pairs(broken_sets, 'ECSSD')] + [copy]
    assert find_duplicates(images, others) == find_duplicates(images, others, decoded=True) == [(images[3], copy)]
