"""Image files: what is wrong with them."""
import cv2
import pytest
from helpers import cut

from res2net_mm.utils.images import file_defect


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
