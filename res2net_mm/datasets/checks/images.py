"""Checks of image files, before the first iteration."""
from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Callable, Iterator, Optional, Tuple

from PIL import Image

from ...utils.images import Decoder, annotated_size_defect, file_defect, image_defect, read_header
from .built import BuiltSplit
from .loading import (
    annotated_size,
    find_image_loader,
    image_decoder,
    knows_sizes,
    read_sizes,
    reads_local_files,
    unguarded,
)
from .problems import TOLERATED, Problem, list_defects
from .sharing import check_files

if TYPE_CHECKING:
    from mmengine.dataset import BaseDataset

SizedImage = Tuple[str, Optional[Tuple[int, int]]]  # a path, and the height and width that are annotated


def check_images(split: BuiltSplit) -> Iterator[Problem]:
    """Check the images of a set.

    An image to evaluate on must be one that its loading transform can read, of the annotated size. Images to train on
    are checked when they are loaded, and skipped if they are bad; here only their sizes are compared.

    Args:
        split (BuiltSplit): The set.
    """
    if split.name == 'train':
        for dataset in split.datasets:
            yield from check_training_sizes(split, dataset)
        return
    defects: dict[str, str] = {}
    for dataset in split.datasets:
        defects.update(tell_pipelines(split, dataset, look_at_images(
            split, dataset, list(sized_images(split, dataset)))))
    bad_images = [f'{path} {defect}' for path, defect in defects.items()]
    yield from list_defects(f'{len(bad_images)} images to evaluate on are bad:', bad_images,
                            fatal=split.bad_images_are_fatal)


def check_training_sizes(split: BuiltSplit, dataset: BaseDataset) -> Iterator[Problem]:
    """Compare the images of a dataset to train on with the sizes that they are annotated with."""
    loader = find_image_loader(split.transforms(dataset))
    decoder = image_decoder(loader) if loader else None
    if decoder is None or not knows_sizes(dataset, next(split.annotations(dataset), {})):
        return
    images = [(path, size) for path, size in sized_images(split, dataset) if size and ':' not in path]
    check = partial(training_size_defect, decoder=decoder)
    defects = tell_pipelines(split, dataset, check_files(
        images, check, f'comparing the sizes of {len(images)} images (train)'))
    share = len(defects) / max(1, len(images))
    fate = (f'more than {TOLERATED:.0%} of them, so that the annotations must be wrong' if share > TOLERATED
            else 'they are skipped')
    yield from list_defects(
        f'{len(defects)} of {len(images)} training images have another size than they are annotated with; {fate}:',
        [f'{path} {defect}' for path, defect in defects.items()], fatal=share > TOLERATED)


def find_bad_training_images(split: BuiltSplit) -> dict[str, str]:
    """What is wrong with images to train on, by path, which a run would find when it loads them.

    Args:
        split (BuiltSplit): The set. The sizes of its images are the matter of ``check_images``.
    """
    defects: dict[str, str] = {}
    for dataset in split.datasets:
        images: list[SizedImage] = [(path, None) for path, _ in sized_images(split, dataset)]
        defects.update({path: defect for (path, _), defect in look_at_images(split, dataset, images).items()})
    return defects


def look_at_images(split: BuiltSplit, dataset: BaseDataset, images: list[SizedImage]) -> dict[SizedImage, str]:
    """What is wrong with images of a dataset, for those that its loading transform could not read."""
    check = partial(evaluated_image_defect, loader=find_image_loader(split.transforms(dataset)))
    return check_files(images, check, f'checking {len(images)} images ({split.name})')


def tell_pipelines(split: BuiltSplit, dataset: BaseDataset, found: dict[SizedImage, str]) -> dict[str, str]:
    """Tell SkipBadSample and EvaluationPipeline which images are bad, and what is wrong with each.

    Not every dataset gives its transforms the annotated sizes, and what is found once need not be found again.

    Returns:
        dict[str, str]: What is wrong, by path.
    """
    defects = {path: defect for (path, _), defect in found.items()}
    for guard in (*split.pipelines(dataset), *split.transforms(dataset)):
        if hasattr(guard, 'known_defects'):
            guard.known_defects.update(defects)
    return defects


def sized_images(split: BuiltSplit, dataset: BaseDataset) -> Iterator[SizedImage]:
    """The image files of a dataset, each with its annotated size; none if they are not on this machine."""
    if not all(map(reads_local_files, map(unguarded, split.transforms(dataset)))):
        return
    sizes = read_sizes(dataset)
    for info in split.annotations(dataset):
        if isinstance(info.get('img_path'), str):
            yield info['img_path'], annotated_size(info) or sizes.get(info.get('img_id'))


def training_size_defect(image: SizedImage, decoder: Decoder) -> str | None:
    """What is wrong with the size of an image, or None; None also if its header cannot be read."""
    path, size = image
    try:
        header = read_header(path)
    except Image.DecompressionBombError:
        return None
    return annotated_size_defect(header, size, decoder) if header and size else None


def evaluated_image_defect(image: SizedImage, loader: Callable | None) -> str | None:
    """What is wrong with an image to evaluate on, or None.

    Args:
        image (tuple): Its path, and its annotated height and width or None.
        loader (Callable | None): The transform that decodes it; None: one that is not known.
    """
    path, size = image
    decoder = image_decoder(loader) if loader else None
    if loader is None or decoder is None:
        return file_defect(path)
    defect = image_defect(path, size, decoder)
    return defect if defect or ':' in path else decoding_defect(path, size, loader)


def decoding_defect(path: str, size: tuple[int, int] | None, loader: Callable) -> str | None:
    """What is found by decoding an image as its dataset does, or None.

    A JPEG is left alone: nothing tells that it is damaged in the middle. The checksums of a PNG tell without decoding.
    Other formats have too many kinds to know what the loader does with them: they are decoded.
    """
    with open(path, 'rb') as file:
        start = file.read(4)
    if start.startswith(b'\xff\xd8'):
        return None
    if start == b'\x89PNG':
        try:
            with Image.open(path) as image:
                image.verify()
            return None
        except Exception:  # perhaps of a chunk that has nothing to do with the pixels: the loader tells
            pass
    try:
        loaded = loader(dict(img_path=path))
    except AssertionError:  # mmcv's, which says no more
        loaded = None
    except Exception as error:
        return f'cannot be decoded: {type(error).__name__}: {error}'.splitlines()[0]
    if loaded is None:
        return 'cannot be decoded: it is damaged, or of a kind that its loading transform does not know'
    shape = loaded['img'].shape[:2]
    return None if size in (None, shape) else (
        f'is {shape[0]} x {shape[1]} pixels (height x width) and annotated as {size[0]} x {size[1]}')
