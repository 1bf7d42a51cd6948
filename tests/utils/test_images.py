"""Image files: what is wrong with them."""
import re
import subprocess
import sys

import cv2
import mmcv
import numpy as np
import pytest
from helpers import cut, write_image_bomb, write_turned_image
from PIL import Image

from res2net_mm.utils.errors import UserError
from res2net_mm.utils.images import Decoder, file_defect, image_defect, image_shape, read_image, write_image


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.bmp'])
def test_image_files(suffix, image):
    path = image.with_suffix(suffix)
    cv2.imwrite(str(path), cv2.imread(str(image)))
    assert file_defect(str(path)) is None
    path.write_bytes(path.read_bytes() + b'junk of a camera' * 9)
    assert file_defect(str(path)) is None
    path.write_bytes(b'')
    assert file_defect(str(path)) == 'is empty'
    path.unlink()
    assert file_defect(str(path)) == 'does not exist'
    assert file_defect(f's3://bucket/{path.name}') is None


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_image_that_is_cut_off(suffix, image):
    path = image.with_suffix(suffix)
    cv2.imwrite(str(path), cv2.imread(str(image)))
    cut(path)
    assert file_defect(str(path)).startswith('is cut off')
    path.write_text('<html>404</html>')
    assert file_defect(str(path)) == "is not an image: it starts with b'<html>404</html>'"


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'webp', 'tif', 'mpo'])
@pytest.mark.parametrize('backend, color_type', [
    ('cv2', 'color'), ('cv2', 'grayscale'), ('cv2', 'unchanged'), ('cv2', 'color_ignore_orientation'),
    ('pillow', 'color'), ('pillow', 'unchanged')])
def test_size_is_that_of_the_decoded_image(backend, color_type, suffix, tmp_path):
    path = tmp_path / f'turned.{suffix}'
    for orientation in (None, 3, 6):
        write_turned_image(path, orientation)
        if (backend, suffix, orientation) == ('pillow', 'tif', 6) and color_type == 'unchanged':
            continue  # Pillow itself turns it or not, with its version
        loaded = mmcv.imfrombytes(path.read_bytes(), color_type, backend=backend)
        assert image_shape(path, Decoder(backend, color_type)) == loaded.shape[:2]


def test_turned_tiff_is_read(tmp_path):
    """OpenCV's imread fails on it."""
    write_turned_image(tmp_path / 'turned.tif', 6)
    assert read_image(tmp_path / 'turned.tif').shape == (64, 40, 3)


@pytest.mark.parametrize('name, orientation, color_type, message', [
    ('a.jpg', 6, 'color', 'is 64 x 40 pixels .* annotated as 40 x 64: its EXIF orientation turns it; annotate the '
                          "turned image, .*, or load it with color_type='color_ignore_orientation'$"),
    ('a.tif', 6, 'color', 'its EXIF orientation turns it; .* without the tag$'),  # OpenCV turns it in any case
    ('a.jpg', 6, 'unchanged', None),
    ('a.jpg', None, 'color', None),
    ('a.png', 6, 'color', 'EXIF'),
])
def test_annotated_size_of_a_turned_image(name, orientation, color_type, message, tmp_path):
    write_turned_image(tmp_path / name, orientation)
    expect_defect(message, image_defect(str(tmp_path / name), (40, 64), Decoder(color_type=color_type)))


def test_annotated_size(tmp_path):
    path = tmp_path / 'a.jpg'
    write_turned_image(path, None)
    expect_defect('annotated as 64 x 40: width and height are exchanged$', image_defect(str(path), (64, 40)))
    expect_defect('is 40 x 64 pixels .* annotated as 20 x 32$', image_defect(str(path), (20, 32)))
    write_turned_image(path, 6)
    expect_defect("is not heeded for JPEG with color_type='unchanged'",
                  image_defect(str(path), (64, 40), Decoder(color_type='unchanged')))


def expect_defect(message, defect):
    if message is None:
        assert defect is None
    else:
        assert re.search(message, defect or ''), defect


@pytest.mark.parametrize('name, write, message', [
    ('a.png', lambda path: path.symlink_to('nothing.png'), 'is a link to nothing.png, which does not exist'),
    ('a.jpg', lambda path: path.mkdir(), 'is a folder'),
    ('a.png', lambda path: Image.new('RGB', (8, 8)).save(path, 'PCX'), 'of the format PCX, which OpenCV does not'),
    ('a.png', lambda path: path.write_text('404'), "is not an image: it starts with b'404'"),
    ('a.webp', lambda path: write_turned_image(path) or cut(path), 'is cut off or broken'),
    ('a.npy', lambda path: path.write_text('404'), 'is not an image, or of an unknown format'),
    ('a.png', lambda path: Image.new('RGB', (1, 4000)).save(path), 'is 4000 x 1 pixels .*200 times the other'),
    ('a.jpg', lambda path: Image.new('RGB', (4000, 1)).save(path), 'is 1 x 4000 pixels'),
    ('a.jpg', lambda path: Image.new('RGB', (200, 1)).save(path), None),
    ('a.jpg', lambda path: Image.new('CMYK', (8, 8)).save(path), None),
    ('a.png', lambda path: Image.new('LA', (8, 8)).save(path), None),
    ('a.png', lambda path: cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint16)), None),
])
def test_what_is_seen_before_decoding(name, write, message, tmp_path):
    write(tmp_path / name)
    expect_defect(message, image_defect(str(tmp_path / name)))


def test_file_that_may_not_be_read(image, monkeypatch):
    def refuse(*arguments):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr('builtins.open', refuse)  # root may read everything
    assert file_defect(str(image)) == 'cannot be read: Permission denied'


def test_limit_on_pixels(tmp_path, monkeypatch):
    """Without decoding: 900 million pixels would take a second and 2.7 GB."""
    bomb = tmp_path / 'bomb.png'
    write_image_bomb(bomb, 30000)
    assert bomb.stat().st_size < 1_000_000
    decoded = []
    monkeypatch.setattr('cv2.imdecode', lambda *arguments: decoded.append(arguments))
    message = r'has more than 536,870,912 pixels, and 268,435,456 are the most .* RES2NET_MM_MAX_PIXELS'
    for look in (file_defect, image_defect):
        expect_defect(message, look(str(bomb)))
    with pytest.raises(OSError, match=message):
        read_image(bomb)
    assert not decoded
    monkeypatch.setenv('RES2NET_MM_MAX_PIXELS', '1000000000')
    monkeypatch.setattr('PIL.Image.MAX_IMAGE_PIXELS', 5)
    assert image_defect(str(bomb)) is None
    monkeypatch.setenv('RES2NET_MM_MAX_PIXELS', '800000000')
    expect_defect(r'has 30000 x 30000 \(height x width\) pixels, and 800,000,000 are', image_defect(str(bomb)))
    monkeypatch.setenv('RES2NET_MM_MAX_PIXELS', 'many')
    with pytest.raises(UserError, match='RES2NET_MM_MAX_PIXELS=many: must be'):
        image_defect(str(bomb))


def test_written_image(image, tmp_path):
    pixels = read_image(image)
    write_image(tmp_path / 'a.png', pixels)
    assert np.array_equal(read_image(tmp_path / 'a.png'), pixels)
    sizes = []
    for quality in (None, 95, 50):
        write_image(tmp_path / 'a.jpg', pixels, quality, durable=False)
        sizes.append((tmp_path / 'a.jpg').stat().st_size)
    assert sizes[0] == sizes[1] > sizes[2]
    with pytest.raises(FileNotFoundError, match='nosuch'):
        write_image(tmp_path / 'nosuch' / 'a.png', pixels)
    with pytest.raises(UserError, match=r"a\.xyz' cannot be written: OpenCV writes no \.xyz file of this size$"):
        write_image(tmp_path / 'a.xyz', pixels)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.jpg', 'a.png', 'image.jpg']


@pytest.mark.parametrize('write', [
    'shapes.write_shapes(folder, 1, 1)', 'shapes.write_segments(folder, 1, 1)', 'shapes.write_sizes(folder, 1, 1)',
    'digits.write_digits(folder)'])
def test_generated_set_on_a_full_disk(write, tmp_path):
    """No image is left out without a word: a limit on the size of files stands for a disk that has no room."""
    pytest.importorskip('resource')
    module = write.partition('.')[0]
    code = f"""if True:
        import resource, signal, sys
        from res2net_mm.datasets import {module}
        from res2net_mm.utils.whole_file import NoSpaceError
        folder = sys.argv[1]
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))
        try:
            {write}
        except NoSpaceError as error:
            sys.exit(3)
        """
    assert subprocess.run([sys.executable, '-c', code, tmp_path], stderr=subprocess.DEVNULL).returncode == 3
    assert not [path for path in tmp_path.rglob('*') if path.is_file()]
