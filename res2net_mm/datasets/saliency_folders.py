"""Sets of images with their salient objects: how their folders lie, and what to check before training on them.

A set is a folder in the data root, named as the set is: MSRA-B, ECSSD, PASCAL-S, HKU-IS, DUT-OMRON, DUTS-TR, DUTS-TE,
SOD, or one of your own. In it lie the images and the masks, in two folders of any of these names, or in one:

    Imgs/ Masks/                            here, and what to choose for a set of your own
    images/ ground_truth_mask/              ECSSD as it is downloaded
    imgs/ gt/                               HKU-IS
    DUT-OMRON-image/ pixelwiseGT-new-PNG/   DUT-OMRON
    DUTS-TR-Image/ DUTS-TR-Mask/            DUTS; also DUTS-TE-...
    images/ or Image/ with masks/, Mask/, gt/ or GT/
    Imgs/                                   MSRA-B: images are the .jpg, masks the .png

Capitals, '-' and '_' do not count. A mask has the name of its image. A part of a set is a text file in the set's folder
with the name of an image on each line: MSRA-B comes with its 2500, 500 and 2000 images for training, validation and
test as such lists. (The list ``train.lst`` in the public code of DSS is not the first of them: it has 6603 images of
ECSSD, HKU-IS and DUT-OMRON in it.) Masks are black and white, as ``utils/masks.py`` says.
"""
from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Sequence, TypeVar

import numpy as np
from PIL import Image

from ..utils.images import file_defect, image_shape
from ..utils.masks import SALIENT, binarize, read_grey_values, size_defect
from .checks.lists import read_names
from .checks.problems import BadDataError

SETS = ('MSRA-B', 'ECSSD', 'PASCAL-S', 'HKU-IS', 'DUT-OMRON', 'DUTS-TR', 'DUTS-TE', 'SOD')
TRAINING_SETS = ('MSRA-B', 'DUTS-TR')
File = TypeVar('File', str, Path)
FOLDERS = (  # of images and of masks, as normalize_name() has them
    ('imgs', 'masks'), ('imgs', 'mask'), ('imgs', 'gt'), ('images', 'masks'), ('images', 'mask'), ('images', 'gt'),
    ('image', 'masks'), ('image', 'mask'), ('image', 'gt'), ('images', 'groundtruthmask'),
    ('dutomronimage', 'pixelwisegtnewpng'), ('dutstrimage', 'dutstrmask'), ('dutsteimage', 'dutstemask'),
    ('imgs', 'imgs'),
)
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp')
MASK_SUFFIXES = ('.png', '.bmp', '.jpg', '.jpeg')


# 1. Folders.


def set_name(entry: str) -> str:
    """Turn 'PASCAL-S' or 'PASCAL-S:list.txt' into 'pascal_s', the prefix of the set's results."""
    return entry.partition(':')[0].lower().replace('-', '_')


def normalize_name(name: str) -> str:
    """Bring the name of a set or folder to the form in which two spellings of it are equal."""
    return name.lower().replace('-', '').replace('_', '')


def subfolders(folder: str | Path) -> dict[str, Path]:
    """The folders inside of a folder, by normalized name."""
    return {normalize_name(path.name): path for path in sorted(Path(folder).iterdir()) if path.is_dir()}


def find_folders(root: str | Path, name: str) -> tuple[Path, Path]:
    """Find the folders of the images and of the masks of a set, which may be the same.

    Args:
        root (str | Path): The data root.
        name (str): The set.

    Returns:
        tuple[Path, Path]: The two.

    Raises:
        BadDataError: If there is no such set, or its folders have other names.
    """
    if not Path(root).is_dir():
        raise BadDataError(f"folder '{root}' of the saliency sets does not exist; give it with --data-root DIR")
    sets = subfolders(root)
    if normalize_name(name) not in sets:
        raise BadDataError(f"'{root}' has no set '{name}': its folders are "
                           f'{", ".join(path.name for path in sets.values()) or "none"}; known sets are '
                           f'{", ".join(SETS)}, and a set of your own is a folder with Imgs/ and Masks/')
    folder = sets[normalize_name(name)]
    inside = subfolders(folder)
    for images, masks in FOLDERS:
        if images in inside and masks in inside:
            return inside[images], inside[masks]
    content = ', '.join(path.name for path in inside.values()) or 'no folders'
    raise BadDataError(f"'{folder}' must have images in Imgs/ and masks in Masks/, or be of another layout that "
                       f'res2net_mm/datasets/saliency_folders.py lists; it has {content}')


def find_files(image_folder: Path, mask_folder: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Find the images and the masks of two folders.

    Of two files with one name but different suffixes, the first by the order of the suffixes is taken.

    Args:
        image_folder (Path): The folder of the images.
        mask_folder (Path): The folder of the masks, which may be the same.

    Returns:
        tuple[dict[str, Path], dict[str, Path]]: Images and masks by name without suffix.
    """

    def by_stem(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
        files = {}
        for suffix in suffixes[::-1]:
            files.update({path.stem: path for path in folder.iterdir() if path.suffix.lower() == suffix})
        return dict(sorted(files.items()))

    if image_folder == mask_folder:
        return by_stem(image_folder, ('.jpg', '.jpeg')), by_stem(mask_folder, ('.png', ))
    return by_stem(image_folder, IMAGE_SUFFIXES), by_stem(mask_folder, MASK_SUFFIXES)


def find_pairs(root: str | Path, entry: str) -> list[tuple[Path, Path]]:
    """Find the images of a set, or of a part of it, with their masks.

    A file that should be there but is not is named all the same: whoever loads it decides what to do about it.

    Args:
        root (str | Path): The data root.
        entry (str): The set, 'ECSSD', or a list of some of its images, 'MSRA-B:train.txt'.

    Returns:
        list[tuple[Path, Path]]: Image and mask, by name or as listed.

    Raises:
        BadDataError: If there is no such set or list, or it has no images.
    """
    name, _, listed = entry.partition(':')
    image_folder, mask_folder = find_folders(root, name)
    images, masks = find_files(image_folder, mask_folder)
    names = list(images)
    if listed:
        names = read_image_names(subfolders(root)[normalize_name(name)] / listed, name)
    if not names:
        raise BadDataError(f'{image_folder} has no images ({", ".join(IMAGE_SUFFIXES)})')
    return [(images.get(stem, image_folder / f'{stem}.jpg'), masks.get(stem, mask_folder / f'{stem}.png'))
            for stem in names]


def read_image_names(path: Path, name: str) -> list[str]:
    """Read the list of a part of a set.

    Args:
        path (Path): The file: names of images, with or without suffix, one a line.
        name (str): The set.

    Returns:
        list[str]: The names without suffix.

    Raises:
        BadDataError: If there is no such file, or a line has a folder in it.
    """
    if not path.is_file():
        raise BadDataError(f'{path} does not exist: it lists images of {name}, one name a line')
    lines = read_names(path)
    for number, line in enumerate(lines, 1):
        if '/' in line or '\\' in line:
            raise BadDataError(f"{path}, line {number}: '{line}' has folders in it; wanted is the name of an image of "
                               f'{name} alone, so that no image of another set gets in')
    return [Path(line).stem if Path(line).suffix.lower() in IMAGE_SUFFIXES else line for line in lines]


# 2. Images that are in two sets.


def find_duplicates(images: Sequence[File], others: Sequence[File], decoded: bool = False) -> list[tuple[File, File]]:
    """Find images that are in both of two collections, under whatever name.

    Args:
        images (Sequence[str] | Sequence[Path]): Files.
        others (Sequence[str] | Sequence[Path]): Files.
        decoded (bool): Compare the pixels, which also finds a copy in another lossless format, instead of the bytes,
            which needs no look into files whose sizes differ. Defaults to False.

    Returns:
        list[tuple]: A file of each, with the same content.
    """
    digest = pixel_digest if decoded else file_digest
    if not decoded:
        sizes = {os.path.getsize(path) for path in images} & {os.path.getsize(path) for path in others}
        images, others = ([path for path in paths if os.path.getsize(path) in sizes] for paths in (images, others))
    by_content = {digest(path): path for path in images}
    return [(by_content[content], other) for other in others if (content := digest(other)) in by_content]


def file_digest(path: str | Path) -> bytes:
    """A checksum of the bytes of a file."""
    return hashlib.sha256(Path(path).read_bytes()).digest()


def pixel_digest(path: str | Path) -> bytes:
    """A checksum of the pixels of an image, and of its size."""
    with Image.open(path) as image:
        return hashlib.sha256(np.asarray(image.convert('RGB')).tobytes() + str(image.size).encode()).digest()


# 3. A look at every file.


def mask_defect(mask: str | Path, image: str | Path) -> str | None:
    """What is wrong with a mask file for its image, or None."""
    try:
        return size_defect(binarize(read_grey_values(mask)), image_shape(image))
    except (OSError, ValueError) as error:
        return str(error)


@dataclass
class SetReport:
    """What a look at every file of a set has found.

    Attributes:
        entry (str): The set or a part of it, as for ``find_pairs``.
        image_folder (Path): The folder of its images.
        mask_folder (Path): The folder of its masks, which may be the same.
        num_pairs (int): Number of images.
        images (list[Path]): Those that can be read.
        problems (dict[str, list[str]]): What must be mended: for every kind of defect the files that have it.
        notes (dict[str, list[str]]): What is worth knowing, in the same form.
    """

    entry: str
    image_folder: Path
    mask_folder: Path
    num_pairs: int
    images: list[Path] = field(default_factory=list)
    problems: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)

    def add_problem(self, kind: str, file: str) -> None:
        """Add a file to the problems of a kind."""
        self.problems.setdefault(kind, []).append(file)

    def add_note(self, kind: str, file: str) -> None:
        """Add a file to the notes of a kind."""
        self.notes.setdefault(kind, []).append(file)


def choose_sets(root: str | Path, train: Sequence[str] | None = None, test: Sequence[str] | None = None
                ) -> tuple[list[str], list[str]]:
    """Choose what to check of a folder of sets.

    Args:
        root (str | Path): The data root.
        train (Sequence[str] | None): The sets to train on. Defaults to None: ``TRAINING_SETS``, if they are there.
        test (Sequence[str] | None): The sets to test on. Defaults to None: all others.

    Returns:
        tuple[list[str], list[str]]: Sets to train on, and sets to test on.

    Raises:
        BadDataError: If there are none.
    """
    names = [path.name for path in subfolders(root).values()] if Path(root).is_dir() else []
    train = list(train or [name for name in names if normalize_name(name) in map(normalize_name, TRAINING_SETS)])
    trained = {normalize_name(entry.partition(':')[0]) for entry in train}
    test = list(test or [name for name in names if normalize_name(name) not in trained])
    if not train + test:
        raise BadDataError(f"'{root}' has no sets in it; known are {', '.join(SETS)}")
    return train, test


def check_set(root: str | Path, entry: str) -> SetReport:
    """Look at every image and mask of a set.

    Args:
        root (str | Path): The data root.
        entry (str): The set or a part of it, as for ``find_pairs``.

    Returns:
        SetReport: What it has found.

    Raises:
        BadDataError: If there is no such set or list, or it has no images.
    """
    pairs = find_pairs(root, entry)
    folders = find_folders(root, entry.partition(':')[0])
    report = SetReport(entry, *folders, num_pairs=len(pairs))
    for image, mask in pairs:
        defect = file_defect(str(image))
        if defect:
            report.add_problem('images that cannot be read', f'{image.name} {defect}')
            continue
        report.images.append(image)
        if mask.is_file():
            check_mask(image, mask, report)
        else:
            report.add_problem('images without a mask', image.name)
    if ':' not in entry:
        images, masks = find_files(*folders)
        for stem in sorted(masks.keys() - images.keys()):
            report.add_problem('masks without an image', masks[stem].name)
    return report


def check_mask(image: Path, mask: Path, report: SetReport) -> None:
    """Look at a mask.

    Args:
        image (Path): Its image, which can be read.
        mask (Path): The mask.
        report (SetReport): What is found is added to it.
    """
    try:
        grey = read_grey_values(mask)
        defect = size_defect(binarize(grey), image_shape(image))
    except (OSError, ValueError) as error:
        report.add_problem('masks that cannot be used', f'{mask.name} {error}')
        return
    if defect:
        report.add_problem('masks of another size', f'{mask.name} {defect}')
    brightest = grey.max()
    if not brightest:
        report.add_note('masks without anything salient', mask.name)
    elif ((grey > 0) & (grey < brightest)).any():
        report.add_note(f'masks with grey pixels, salient from {SALIENT} on', mask.name)
    elif brightest < 255:
        report.add_note(f'masks of 0 and {brightest} instead of 255', mask.name)
