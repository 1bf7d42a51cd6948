"""Sets of photos with their salient objects: how their folders lie, how masks are read, and what to check first.

A set is a folder in the data root, named as the set is: MSRA-B, ECSSD, PASCAL-S, HKU-IS, DUT-OMRON, DUTS-TR, DUTS-TE,
SOD, or one of your own. In it lie the photos and the masks, in two folders of any of these names, or in one:

    Imgs/ Masks/                            here, and what to choose for a set of your own
    images/ ground_truth_mask/              ECSSD as it is downloaded
    imgs/ gt/                               HKU-IS
    DUT-OMRON-image/ pixelwiseGT-new-PNG/   DUT-OMRON
    DUTS-TR-Image/ DUTS-TR-Mask/            DUTS; also DUTS-TE-...
    images/ or Image/ with masks/, Mask/, gt/ or GT/
    Imgs/                                   MSRA-B: photos are the .jpg, masks the .png

Capitals, '-' and '_' do not count. A mask has the name of its photo. A part of a set is a text file in the set's folder
with the name of a photo on each line: MSRA-B comes with its 2500, 500 and 2000 photos for training, validation and test
as such lists. (The list ``train.lst`` in the public code of DSS is not the first of them: it has 6603 photos of ECSSD,
HKU-IS and DUT-OMRON in it.)

Masks are black and white. A pixel is salient from 128 on, or, if the mask has no value but 0 and 1, where it is 1. A
mask with three channels is taken if they are equal. One that is all black is taken: nothing is salient.
"""
import argparse
import hashlib
import os
from collections import namedtuple
from pathlib import Path

import numpy as np
from PIL import Image

from ..utils.images import file_defect, image_shape
from ..utils.text import shorten
from .checks import BadDataError, read_names, size_defect

SETS = ('MSRA-B', 'ECSSD', 'PASCAL-S', 'HKU-IS', 'DUT-OMRON', 'DUTS-TR', 'DUTS-TE', 'SOD')
TRAINING = ('MSRA-B', 'DUTS-TR')
FOLDERS = (  # of photos and of masks, as plain() has them
    ('imgs', 'masks'), ('imgs', 'mask'), ('imgs', 'gt'), ('images', 'masks'), ('images', 'mask'), ('images', 'gt'),
    ('image', 'masks'), ('image', 'mask'), ('image', 'gt'), ('images', 'groundtruthmask'),
    ('dutomronimage', 'pixelwisegtnewpng'), ('dutstrimage', 'dutstrmask'), ('dutsteimage', 'dutstemask'),
    ('imgs', 'imgs'),
)
PHOTOS = ('.jpg', '.jpeg', '.png', '.bmp')
MASKS = ('.png', '.bmp', '.jpg', '.jpeg')
SALIENT = 128


# 1. Folders.


def set_name(entry):
    """'PASCAL-S' or 'PASCAL-S:list.txt' -> 'pascal_s', as results are called."""
    return entry.partition(':')[0].lower().replace('-', '_')


def plain(name):
    return name.lower().replace('-', '').replace('_', '')


def subfolders(folder):
    return {plain(path.name): path for path in sorted(Path(folder).iterdir()) if path.is_dir()}


def find_folders(root, name):
    """The folders of the photos and of the masks of a set, which may be the same.

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
    there = subfolders(root)
    if plain(name) not in there:
        raise BadDataError(f"'{root}' has no set '{name}': its folders are "
                           f'{", ".join(path.name for path in there.values()) or "none"}; known sets are '
                           f'{", ".join(SETS)}, and a set of your own is a folder with Imgs/ and Masks/')
    folder = there[plain(name)]
    inside = subfolders(folder)
    for photos, masks in FOLDERS:
        if photos in inside and masks in inside:
            return inside[photos], inside[masks]
    has = ', '.join(path.name for path in inside.values()) or 'no folders'
    raise BadDataError(f"'{folder}' must have photos in Imgs/ and masks in Masks/, or be of another layout that "
                       f'res2net_mm/datasets/saliency_folders.py lists; it has {has}')


def find_files(photos, masks):
    """The photos and the masks of two folders by name: two dicts of paths.

    Of two files with one name but different suffixes, the first by the order of the suffixes is taken.
    """

    def by_stem(folder, suffixes):
        files = {}
        for suffix in suffixes[::-1]:
            files.update({path.stem: path for path in folder.iterdir() if path.suffix.lower() == suffix})
        return dict(sorted(files.items()))

    if photos == masks:
        return by_stem(photos, ('.jpg', '.jpeg')), by_stem(masks, ('.png', ))
    return by_stem(photos, PHOTOS), by_stem(masks, MASKS)


def find_pairs(root, entry):
    """The photos of a set, or of a part of it, with their masks.

    A file that should be there but is not is named all the same: whoever loads it decides what to do about it.

    Args:
        root (str | Path): The data root.
        entry (str): The set, 'ECSSD', or a list of some of its photos, 'MSRA-B:train.txt'.

    Returns:
        list[tuple[Path, Path]]: Photo and mask, by name or as listed.

    Raises:
        BadDataError: If there is no such set or list, or it has no photos.
    """
    name, _, listed = entry.partition(':')
    photo_folder, mask_folder = find_folders(root, name)
    photos, masks = find_files(photo_folder, mask_folder)
    names = list(photos)
    if listed:
        names = read_list(subfolders(root)[plain(name)] / listed, name)
    if not names:
        raise BadDataError(f'{photo_folder} has no photos ({", ".join(PHOTOS)})')
    return [(photos.get(stem, photo_folder / f'{stem}.jpg'), masks.get(stem, mask_folder / f'{stem}.png'))
            for stem in names]


def read_list(path, name):
    """Names of photos, with or without suffix, one a line; without suffix."""
    if not path.is_file():
        raise BadDataError(f'{path} does not exist: it lists photos of {name}, one name a line')
    lines = read_names(path)
    for number, line in enumerate(lines, 1):
        if '/' in line or '\\' in line:
            raise BadDataError(f"{path}, line {number}: '{line}' has folders in it; wanted is the name of a photo of "
                               f'{name} alone, so that no photo of another set gets in')
    return [Path(line).stem if Path(line).suffix.lower() in PHOTOS else line for line in lines]


# 2. Masks.


def read_mask(path):
    """Read a mask.

    Args:
        path (str | Path): The file.

    Returns:
        np.ndarray: (h, w) uint8, 1 where something is salient, else 0.

    Raises:
        ValueError: If it is not a black and white picture: of other colours, dark all over, or of more than 8 bits.
    """
    try:
        return binary(read_grey(path))
    except ValueError as error:
        raise ValueError(f'{path} {error}') from error


def read_grey(path):
    """The values of a mask file, (h, w) uint8."""
    with Image.open(path) as image:
        if image.mode in ('1', 'L', 'LA'):
            return np.asarray(image.convert('L'))
        if image.mode not in ('RGB', 'RGBA', 'P'):
            raise ValueError(f'is a mask of the kind {image.mode}; wanted is 8-bit black and white')
        channels = np.asarray(image.convert('RGB'))
    if (channels != channels[..., :1]).any():
        raise ValueError('is a mask in colours; wanted is black and white')
    return channels[..., 0]


def binary(grey):
    """The values of a mask file -> 1 where something is salient, else 0."""
    brightest = grey.max()
    if 1 < brightest < SALIENT:
        raise ValueError(f'is a mask whose brightest pixel is {brightest}; wanted are 0 and 255, or 0 and 1')
    return (grey >= (SALIENT if brightest > 1 else 1)).astype(np.uint8)


def mask_defect(mask, photo):
    """What is wrong with a mask file for its photo, or None."""
    try:
        return size_defect(binary(read_grey(mask)), image_shape(photo))
    except (OSError, ValueError) as error:
        return str(error)


# 3. Photos that are in two sets.


def find_duplicates(photos, others, decoded=False):
    """Find photos that are in both of two collections, under whatever name.

    Args:
        photos (Sequence[str | Path]): Files.
        others (Sequence[str | Path]): Files.
        decoded (bool): Compare the pixels, which also finds a copy in another lossless format, instead of the bytes,
            which needs no look into files whose sizes differ. Defaults to False.

    Returns:
        list[tuple]: A file of each, with the same content.
    """
    digest = pixel_digest if decoded else file_digest
    if not decoded:
        sizes = {os.path.getsize(path) for path in photos} & {os.path.getsize(path) for path in others}
        photos, others = ([path for path in paths if os.path.getsize(path) in sizes] for paths in (photos, others))
    known = {digest(path): path for path in photos}
    return [(known[content], other) for other in others if (content := digest(other)) in known]


def file_digest(path):
    return hashlib.sha256(Path(path).read_bytes()).digest()


def pixel_digest(path):
    with Image.open(path) as image:
        return hashlib.sha256(np.asarray(image.convert('RGB')).tobytes() + str(image.size).encode()).digest()


# 4. The command.

# What was found in a set: the photos that can be used, what must be mended, and what is worth knowing.
Report = namedtuple('Report', 'entry folders pairs photos problems notes')


def main(argv=None):
    """Check folders of saliency sets: the command ``tools/misc/saliency_data.py``."""
    parser = argparse.ArgumentParser(
        description='Check sets of photos and masks before training: pairs, sizes, values, and photos for training '
        'that are also in a test set. Exit code 1 if something must be mended.')
    parser.add_argument('root', help='the folder of the sets')
    parser.add_argument('--train', nargs='+', metavar='SET[:LIST]',
                        help='sets to train on; LIST is a file in the folder of the set with the names of some of its '
                        f'photos ({", ".join(TRAINING)}, if they are there)')
    parser.add_argument('--test', nargs='+', metavar='SET[:LIST]', help='sets to test on (all others)')
    args = parser.parse_args(argv)
    try:
        there = [path.name for path in subfolders(args.root).values()] if Path(args.root).is_dir() else []
        train = args.train or [name for name in there if plain(name) in map(plain, TRAINING)]
        test = args.test or [name for name in there if plain(name) not in {plain(e.partition(':')[0]) for e in train}]
        if not train + test:
            raise BadDataError(f"'{args.root}' has no sets in it; known are {', '.join(SETS)}")
        reports = {entry: check_set(args.root, entry) for entry in train + test}
    except BadDataError as error:
        parser.exit(1, f'{parser.prog}: error: {error}\n')
    problems = sum(print_report(report) for report in reports.values())
    for trained in train:
        for tested in test:
            same = find_duplicates(reports[trained].photos, reports[tested].photos, decoded=True)
            if same:
                problems += 1
                print(f'PROBLEM: {len(same)} photos of {trained} are also in {tested}: '
                      f'{shorten(f"{a.name} = {b.name}" for a, b in same)}')
    if problems:
        parser.exit(1, f'Problems: {problems}\n')
    print('No problems')


def check_set(root, entry):
    """Look at every photo and mask of a set.

    Args:
        root (str | Path): The data root.
        entry (str): The set or a part of it, as for ``find_pairs``.

    Returns:
        Report: ``problems`` and ``notes`` are {what: names}.

    Raises:
        BadDataError: If there is no such set or list, or it has no photos.
    """
    pairs = find_pairs(root, entry)
    folders = find_folders(root, entry.partition(':')[0])
    problems, notes, usable = {}, {}, []

    def found(where, what, name):
        where.setdefault(what, []).append(name)

    for photo, mask in pairs:
        defect = file_defect(str(photo))
        if defect:
            found(problems, 'photos that cannot be read', f'{photo.name} {defect}')
            continue
        usable.append(photo)
        if not mask.is_file():
            found(problems, 'photos without a mask', photo.name)
            continue
        try:
            grey = read_grey(mask)
            values = binary(grey)
        except (OSError, ValueError) as error:
            found(problems, 'masks that cannot be used', f'{mask.name} {error}')
            continue
        defect = size_defect(values, image_shape(photo))
        if defect:
            found(problems, 'masks of another size', f'{mask.name} {defect}')
        brightest = grey.max()
        if not brightest:
            found(notes, 'masks without anything salient', mask.name)
        elif ((grey > 0) & (grey < brightest)).any():
            found(notes, f'masks with grey pixels, salient from {SALIENT} on', mask.name)
        elif brightest < 255:
            found(notes, f'masks of 0 and {brightest} instead of 255', mask.name)
    if ':' not in entry:
        photos, masks = find_files(*folders)
        for stem in sorted(masks.keys() - photos.keys()):
            found(problems, 'masks without a photo', masks[stem].name)
    return Report(entry, folders, len(pairs), usable, problems, notes)


def print_report(report):
    """Print what was found in a set; the number of kinds of problems."""
    photos, masks = report.folders
    print(f'{report.entry}: {report.pairs} photos in {photos}, masks in {masks}')
    for label, found in (('PROBLEM', report.problems), ('note', report.notes)):
        for what, names in found.items():
            print(f'  {label}: {len(names)} {what}: {shorten(names)}')
    return len(report.problems)

