"""Photos that are named on a command line: found, and read whole or not at all."""
from pathlib import Path

import mmcv

from ..datasets.checks import file_defect

SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff')


def find_photos(paths):
    """List photos.

    Args:
        paths (Sequence[str | Path]): Files, and folders, of which the photos right inside are taken by name.

    Returns:
        list[Path]: The files.

    Raises:
        OSError: If a path does not exist, or a folder has no photo.
    """
    photos = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
            if not inside:
                raise OSError(f"folder '{path}' has no photo in it; looked for {', '.join(SUFFIXES)}")
            photos += inside
        elif path.is_file():
            photos.append(path)
        else:
            raise FileNotFoundError(f"photo '{path}' does not exist")
    return photos


def read_photo(path):
    """Read a photo.

    Args:
        path (str | Path): The file.

    Returns:
        np.ndarray: (h, w, 3) uint8, BGR, turned as its EXIF data says.

    Raises:
        OSError: If it is missing, empty, cut off, or not a picture.
    """
    defect = file_defect(str(path))
    photo = None if defect else mmcv.imread(str(path))
    if photo is None:
        raise OSError(f"photo '{path}' {defect or 'cannot be read: not a picture, or of an unknown format'}")
    return photo
