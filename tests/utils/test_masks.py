"""Masks of salient objects: every kind of black and white file, and what is none."""
import numpy as np
import pytest
from helpers import BOX, GREY
from PIL import Image

from res2net_mm.utils.masks import read_mask


def palette(array):
    image = Image.fromarray(array, 'P')
    image.putpalette([0, 0, 0, 255, 255, 255] + 254 * [0, 0, 0])
    return image


@pytest.mark.parametrize('image, expected', [
    (Image.fromarray(255 * BOX), BOX), (Image.fromarray(BOX), BOX), (Image.fromarray(0 * BOX), 0 * BOX),
    (Image.fromarray(BOX > 0), BOX), (Image.fromarray(GREY), GREY >= 128),
    (Image.fromarray(np.dstack([255 * BOX] * 3)), BOX), (Image.fromarray(np.dstack([BOX] * 3)), BOX),
    (Image.fromarray(np.dstack([255 * BOX] * 3 + [0 * BOX])), BOX), (palette(BOX), BOX),
], ids=['0 and 255', '0 and 1', 'all zero', '1 bit', 'grey', '3 channels', '3 channels of 0 and 1', 'alpha', 'palette'])
def test_masks(image, expected, tmp_path):
    image.save(tmp_path / 'mask.png')
    mask = read_mask(tmp_path / 'mask.png')
    assert mask.dtype == np.uint8 and np.array_equal(mask, expected)


@pytest.mark.parametrize('array, message', [
    (np.dstack([255 * BOX, 255 * BOX, 0 * BOX]), 'in colours'), (90 * BOX, 'brightest pixel is 90'),
    (BOX.astype(np.uint16) * 1000, 'of the kind I;16'),
], ids=['colours', 'dark', '16 bit'])
def test_masks_that_are_none(array, message, tmp_path):
    Image.fromarray(array).save(tmp_path / 'mask.png')
    with pytest.raises(ValueError, match=f'mask.png .*{message}'):
        read_mask(tmp_path / 'mask.png')
