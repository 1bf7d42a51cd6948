"""Image files: found, checked, and read whole or not at all."""
import os
from pathlib import Path

from PIL import Image

SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff')


def find_images(paths):
    """List images.

    Args:
        paths (Sequence[str | Path]): Files, and folders, of which the images right inside are taken by name.

    Returns:
        list[Path]: The files.

    Raises:
        OSError: If a path does not exist, or a folder has no image.
    """
    images = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
            if not inside:
                raise OSError(f"folder '{path}' has no image in it; looked for {', '.join(SUFFIXES)}")
            images += inside
        elif path.is_file():
            images.append(path)
        else:
            raise FileNotFoundError(f"image '{path}' does not exist")
    return images


def read_image(path):
    """Read a image.

    Args:
        path (str | Path): The file.

    Returns:
        np.ndarray: (h, w, 3) uint8, BGR, turned as its EXIF data says.

    Raises:
        OSError: If it is missing, empty, cut off, or not a picture.
    """
    defect = file_defect(str(path))
    import mmcv  # and torch with it
    image = None if defect else mmcv.imread(str(path))
    if image is None:
        raise OSError(f"image '{path}' {defect or 'cannot be read: not a picture, or of an unknown format'}")
    return image


def file_defect(path):
    """What is wrong with the file of a image or mask, or None. Reads its two ends, and the rest if they are odd."""
    if ':' in path:
        return None
    if not os.path.isfile(path):
        return 'does not exist'
    with open(path, 'rb') as file:
        start = file.read(2)
        file.seek(max(0, os.path.getsize(path) - 32))
        end = file.read()
    if not start:
        return 'is empty'
    marker = {b'\xff\xd8': b'\xff\xd9', b'\x89P': b'IEND'}.get(start)  # of JPEG and PNG
    if marker and marker in end or not path.lower().endswith(('.jpg', '.jpeg', '.png')):
        return None
    try:  # cameras and programs write things after the end, which is harmless
        with Image.open(path) as image:
            image.load()
    except Exception as error:
        return f'is cut off or broken: {error}'
    return None


def image_shape(path):
    """Height and width of a image as it is loaded."""
    with Image.open(path) as image:
        turned = image.format == 'JPEG' and image.getexif().get(0x0112, 1) >= 5  # OpenCV turns it when it loads it
        return image.size if turned else image.size[::-1]
