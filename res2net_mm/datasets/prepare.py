"""Public datasets of natural images, from their archives or folders to what our configs read.

============ ==================================================== ===================================================
``cifar10``  60,000 photos of 32 x 32 pixels, ten classes         ``cifar-10-python.tar.gz``, or folders train/CLASS
                                                                  and test/CLASS
``ecssd``    1000 photos with their salient objects               ``images.zip`` and ``ground_truth_mask.zip``
``kvasir``   1000 endoscopies with a mask of the polyp            ``kvasir-seg.zip``
``bccd``     364 photos of blood cells with boxes                 a copy of the repository BCCD_Dataset
============ ==================================================== ===================================================

Any of them may be in an archive, in several, or unpacked, and below other folders.
"""
from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ..utils.errors import UserError
from ..utils.whole_file import whole_folder
from .blood_cells import write_cells
from .image_folders import write_image_of_class
from .saliency_folders import find_files

CIFAR10_BATCHES = 'cifar-10-batches-py'
CIFAR10_CLASSES = ('airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck')
DEEPEST = 4  # folders below the top of an archive


def prepare_data(name: str, sources: Sequence[str | Path], root: str | Path) -> Path:
    """Lay out a dataset as our configs read it.

    Args:
        name (str): One of ``DATASETS``.
        sources (Sequence[str | Path]): The archives, or folders with what is in them; they are not changed.
        root (str | Path): The data root of the configs.

    Returns:
        Path: The folder that was made, whole or not at all: ``root``, or the folder of a saliency set in it.

    Raises:
        UserError: If it is there already, or a source is missing, damaged, or not of this dataset.
    """
    prepare, folder = DATASETS[name]
    target = Path(root).absolute() / folder
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"'{target}' is there already; remove it, or name another folder with --to")
    with whole_folder(target) as unfinished, unpacked(sources, target.parent) as folders:
        prepare(folders, unfinished)
    return target


@contextmanager
def unpacked(sources: Sequence[str | Path], beside: Path) -> Iterator[list[Path]]:
    """Unpack archives into a temporary folder.

    Args:
        sources (Sequence[str | Path]): Archives (.zip, .tar, .tar.gz, ...) and folders.
        beside (Path): Where there is room for the temporary folder.

    Yields:
        list[Path]: The folders of the archives' contents, and the given ones.

    Raises:
        UserError: If a source is missing, damaged, or no archive.
    """
    with TemporaryDirectory(prefix='.unpacked', dir=beside) as temporary:
        folders = []
        for number, source in enumerate(map(Path, sources)):
            if not source.exists():
                raise UserError(f"'{source}' does not exist")
            if source.is_dir():
                folders.append(source)
                continue
            folders.append(Path(temporary, str(number)))
            try:
                if zipfile.is_zipfile(source):
                    with zipfile.ZipFile(source) as archive:
                        archive.extractall(folders[-1])
                else:
                    with tarfile.open(source) as archive:
                        archive.extractall(folders[-1], filter='data')
            except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
                raise UserError(f"'{source}' is damaged, or no archive (.zip, .tar, .tar.gz, ...): {error}") from error
        yield folders


def find_folder(folders: Sequence[Path], *wanted: str) -> Path | None:
    """The first folder, in ``folders`` or up to ``DEEPEST`` below, that has files or folders of these names."""
    level = list(folders)
    for _ in range(DEEPEST + 1):
        for folder in level:
            if all((folder / name).exists() for name in wanted):
                return folder
        level = [path for folder in level for path in sorted(folder.iterdir()) if path.is_dir()]
    return None


# The datasets. Each function takes the folders of what was given, and the folder to write.


def prepare_cifar10(folders: Sequence[Path], target: Path) -> None:
    """Write ``train`` and ``test`` with a folder of images for each class.

    Raises:
        UserError: If there is neither the archive's folder, whole, nor a folder train and a folder test.
    """
    batches, images = find_folder(folders, CIFAR10_BATCHES), find_folder(folders, 'train', 'test')
    if batches:
        from torchvision.datasets import CIFAR10  # compares the files with the published MD5 before it reads them
        for split in ('train', 'test'):
            try:
                dataset = CIFAR10(batches, train=split == 'train')
            except RuntimeError as error:
                raise UserError(f"'{batches / CIFAR10_BATCHES}' is not whole: {error}") from error
            for index, (image, label) in enumerate(dataset):
                write_image_of_class(target, split, dataset.classes[label], index, np.asarray(image)[..., ::-1])
    elif images:
        for split in ('train', 'test'):
            classes = sorted(path.name for path in (images / split).iterdir() if path.is_dir())
            if classes != list(CIFAR10_CLASSES):
                raise UserError(f"'{images / split}' has the folders {', '.join(classes)}; the classes of CIFAR-10 are "
                                f'{", ".join(CIFAR10_CLASSES)}')
            for name in classes:
                shutil.copytree(images / split / name, target / split / name)
    else:
        raise UserError(f'no {CIFAR10_BATCHES} in --from, and no folders train and test; take cifar-10-python.tar.gz '
                        'from https://www.cs.toronto.edu/~kriz/cifar.html')


def prepare_ecssd(folders: Sequence[Path], target: Path) -> None:
    """Write ``images`` and ``ground_truth_mask``, with 700 images in train.txt and 300 in test.txt.

    Held out are of every ten images, by name, the third, the sixth and the ninth.
    """
    copy_pairs(folders, target, 'ground_truth_mask', 'ECSSD (images.zip and ground_truth_mask.zip of '
               'https://www.cse.cuhk.edu.hk/leojia/projects/hsaliency/dataset.html)')
    names = sorted(path.stem for path in (target / 'images').iterdir())
    held_out = {name for index, name in enumerate(names) if index % 10 in (2, 5, 8)}
    write_lists(target, train=[name for name in names if name not in held_out], test=sorted(held_out))


def prepare_kvasir(folders: Sequence[Path], target: Path) -> None:
    """Write ``images`` and ``masks``, with 880 images in train.txt and 120 in val.txt.

    The lists are those that lie beside the images, as in the copies that are split already; where there are none, of
    every 25 images, by name, the fifth, the tenth and the fifteenth are held out.
    """
    source = copy_pairs(folders, target, 'masks', 'Kvasir-SEG (kvasir-seg.zip of '
                        'https://datasets.simula.no/kvasir-seg/)')
    names = sorted(path.stem for path in (target / 'images').iterdir())
    lists = {split: source / f'{split}.txt' for split in ('train', 'val')}
    if all(path.is_file() for path in lists.values()):
        split_names = {split: [Path(line).stem for line in path.read_text().split()] for split, path in lists.items()}
        unknown = sorted({name for listed in split_names.values() for name in listed} - set(names))
        if unknown:
            raise UserError(f"the lists of '{source}' name {len(unknown)} images that are not there: {unknown[0]}, ...")
    else:
        held_out = {name for index, name in enumerate(names) if index % 25 in (4, 9, 14)}
        split_names = dict(train=[name for name in names if name not in held_out], val=sorted(held_out))
    write_lists(target, **split_names)


def prepare_bccd(folders: Sequence[Path], target: Path) -> None:
    """Write COCO 2017's layout: 'trainval' of BCCD as train2017, 'test' as val2017.

    Raises:
        UserError: If no folder holds ``BCCD/ImageSets/Main``, or an annotation is of another class.
    """
    source = find_folder(folders, 'BCCD/ImageSets/Main')
    if source is None:
        raise UserError('no BCCD/ImageSets/Main in --from; take a copy of https://github.com/Shenggan/BCCD_Dataset')
    write_cells(target, source)


DATASETS: dict[str, tuple[Callable[[Sequence[Path], Path], None], str]] = {
    # by name: who lays it out, and the folder in the data root
    'cifar10': (prepare_cifar10, '.'), 'ecssd': (prepare_ecssd, 'ECSSD'), 'kvasir': (prepare_kvasir, 'Kvasir-SEG'),
    'bccd': (prepare_bccd, '.')}


def copy_pairs(folders: Sequence[Path], target: Path, masks: str, dataset: str) -> Path:
    """Copy a folder ``images`` and a folder of masks, which may come from two archives.

    Args:
        folders (Sequence[Path]): Where to look.
        target (Path): Where to write both.
        masks (str): The name of the folder of masks.
        dataset (str): The dataset in words, for an error.

    Returns:
        Path: The folder that holds ``images``.

    Raises:
        UserError: If one of the two folders is missing, or an image has no mask.
    """
    found = {name: find_folder(folders, name) for name in ('images', masks)}
    missing = [name for name, folder in found.items() if folder is None]
    if missing:
        raise UserError(f'no folder {" and no folder ".join(missing)} in --from; it must hold {dataset}')
    places = {name: folder / name for name, folder in found.items() if folder}
    images, labels = find_files(places['images'], places[masks])
    alone = sorted(images.keys() ^ labels.keys())
    if alone or not images:
        raise UserError(f'{len(images)} images and {len(labels)} masks; {len(alone)} have no partner: '
                        f'{", ".join(alone[:3])}' if images else f"no images in '{places['images']}'")
    for name, files in (('images', images), (masks, labels)):
        (target / name).mkdir(parents=True)
        for file in files.values():
            shutil.copyfile(file, target / name / file.name)
    return places['images'].parent


def write_lists(target: Path, **names: Sequence[str]) -> None:
    """Write text files of names, one a line, by the names of the lists."""
    for split, listed in names.items():
        (target / f'{split}.txt').write_text(''.join(f'{name}\n' for name in listed))
