"""The check of saliency sets: good ones, every defect, and images that are also in a test set."""
import os

import numpy as np
import pytest
from helpers import GREY, SALIENCY_SIZES, write_image, write_saliency_pair
from PIL import Image

from res2net_mm.cli import saliency_data

SOD = os.environ.get('RES2NET_MM_SOD')


def check(root, *arguments):
    """The check tool's exit code."""
    try:
        saliency_data.main([str(root), *arguments])
    except SystemExit as end:
        return end.code
    return 0


def test_check_of_good_sets(saliency_sets, capsys):
    assert check(saliency_sets) == 0
    said = capsys.readouterr().out
    assert 'MSRA-B: 5 images' in said and 'HKU-IS: 3 images' in said and said.endswith('No problems\n')
    assert check(saliency_sets, '--train', 'MSRA-B:train.txt', '--test', 'MSRA-B:val.txt') == 0


def test_check_finds_every_defect(broken_sets, capsys):
    ecssd = broken_sets / 'ECSSD'
    (ecssd / 'ground_truth_mask' / 'E0.png').unlink()
    (ecssd / 'images' / 'E1.jpg').unlink()
    write_image(ecssd / 'ground_truth_mask' / 'E2.png', np.zeros((64, 50), np.uint8))
    write_image(ecssd / 'ground_truth_mask' / 'E3.png', np.zeros((40, 60, 3), np.uint8) + np.uint8([255, 0, 0]))
    (ecssd / 'images' / 'E4.jpg').write_bytes((ecssd / 'images' / 'E4.jpg').read_bytes()[:500])
    write_image(broken_sets / 'HKU-IS' / 'gt' / 'H0.png', np.pad(GREY, 24))
    write_saliency_pair(broken_sets / 'HKU-IS' / 'imgs' / 'H1.png', broken_sets / 'HKU-IS' / 'gt' / 'H1.png', 1,
                        SALIENCY_SIZES[1], values=1)
    image = Image.open(broken_sets / 'MSRA-B' / 'Imgs' / 'M0.jpg')
    image.save(broken_sets / 'PASCAL-S' / 'Imgs' / 'P1.png')  # the same pixels in another file
    (broken_sets / 'PASCAL-S' / 'Imgs' / 'P1.jpg').unlink()
    write_image(broken_sets / 'PASCAL-S' / 'Masks' / 'P1.png', np.zeros(SALIENCY_SIZES[0], np.uint8))
    assert check(broken_sets) == 1
    said = capsys.readouterr().out
    for text in ('1 images without a mask: E0.jpg', '1 masks without an image: E1.png',
                 '1 masks of another size: E2.png is a mask of 64 x 50 pixels for an image of 64 x 51',
                 '1 masks that cannot be used: E3.png is a mask in colours',
                 '1 images that cannot be read: E4.jpg is cut off or broken',
                 'note: 1 masks with grey pixels, salient from 128 on: H0.png', 'note: 1 masks of 0 and 1',
                 'note: 1 masks without anything salient: P1.png',
                 'PROBLEM: 1 images of MSRA-B are also in PASCAL-S: M0.jpg = P1.png'):
        assert text in said, said
    assert check(broken_sets, '--train', 'NONE') == 1 and "no set 'NONE'" in capsys.readouterr().err
    assert check(broken_sets / 'ECSSD') == 1


@pytest.mark.skipif(not SOD, reason='RES2NET_MM_SOD names no folder of saliency sets')
def test_real_sets(capsys):
    assert check(SOD) == 0, capsys.readouterr().out
