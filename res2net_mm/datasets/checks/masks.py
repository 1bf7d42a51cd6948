"""Checks of the masks of segmentation sets, before the first iteration.

A mask is read as the dataset's own loading transform reads it, and its values are turned into labels as that transform
turns them: with ``reduce_zero_label`` and with the map from a dataset's own classes to those that a config chooses.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Sequence

import numpy as np

from ...utils.config_types import ancestors
from ...utils.images import file_defect, image_shape
from ...utils.masks import size_defect
from .built import BuiltSplit
from .configs import is_missing
from .loading import unguarded
from .problems import SHOWN, TOLERATED, Problem, list_defects
from .registry import inherits
from .sharing import map_files

if TYPE_CHECKING:
    from mmengine.dataset import BaseDataset

# Masks of a set to train on that are looked at, evenly spaced. What is wrong in a twentieth of all stays unseen once in
# 28,000 times (0.95 ** 200), and less is passed over while training; 200 masks of Cityscapes take some 4 seconds.
TRAINING_SAMPLE = 200
COLOURS = 'it must have one channel, of class numbers'
DIVIDE = ('python -c "import sys; from PIL import Image; '
          '[Image.open(p).point(lambda v: v // 255).save(p) for p in sys.argv[1:]]"')


@dataclass(frozen=True)
class MaskLabels:
    """The labels that a semantic mask may have.

    Attributes:
        num_labels (int | None): They are less than this; None: any are allowed.
        ignore_index (int): The label that is allowed besides.
    """

    num_labels: int | None
    ignore_index: int = 255


@dataclass(frozen=True)
class MaskReader:
    """How a dataset of mmseg reads its mask files.

    Attributes:
        labels (MaskLabels): The labels that are allowed once a mask is loaded.
        backend (str): What decodes the files, in mmcv's terms. Defaults to 'pillow'.
        reduce_zero_label (bool): Whether 0 is ignored and the other values are one less. Defaults to False.
        label_map (Mapping[int, int] | None): What labels are changed to after that. Defaults to None.
    """

    labels: MaskLabels
    backend: str = 'pillow'
    reduce_zero_label: bool = False
    label_map: Mapping[int, int] | None = None

    def read(self, path: str) -> np.ndarray:
        """The values in a mask file, (h, w) if it is a good one."""
        import mmcv
        return np.squeeze(mmcv.imfrombytes(Path(path).read_bytes(), flag='unchanged', backend=self.backend))

    def load(self, values: np.ndarray) -> np.ndarray:
        """The labels, (n, ), that values of a file, (n, ), become when it is loaded."""
        labels = np.asarray(values, np.int64)
        if self.reduce_zero_label:
            labels = np.where((labels == 0) | (labels == 255), 255, labels - 1)
        new_labels = self.label_map or {}
        return np.array([new_labels.get(label, label) for label in labels.tolist()], np.int64)

    def allows(self, values: np.ndarray) -> np.ndarray:
        """Whether each value of a file becomes an allowed label, as an array of bool."""
        labels = self.load(values)
        inside = (labels >= 0) & (labels < self.labels.num_labels) if self.labels.num_labels else labels >= 0
        return (inside | (labels == self.labels.ignore_index)) & (values <= 255)

    @cached_property
    def allowed(self) -> str:
        """The values that a file may have, in words."""
        return spans(np.flatnonzero(self.allows(np.arange(256))))

    def defect(self, path: str, image: str) -> tuple[str | None, np.ndarray]:
        """What is wrong with a mask file for an image file, or None; and the values of the mask.

        Args:
            path (str): The mask file.
            image (str): The image file, which can be read.
        """
        try:
            mask = self.read(path)
        except Exception as error:  # of any decoder
            return f'cannot be decoded by {self.backend}: {error}', np.array([], np.int64)
        if mask.ndim != 2:
            return colour_defect(path, mask, self.allowed), np.array([], np.int64)
        values = distinct(mask)
        defect = size_defect(mask, image_shape(image))
        wrong = values[~self.allows(values)]
        if not defect and len(wrong):
            defect = (f'is a mask with label{"s" if len(wrong) > 1 else ""} {first(wrong)}; '
                      f'allowed are {self.allowed}{value_hint(path, mask)}')
        return defect, values


@dataclass
class MaskSurvey:
    """What has been seen in the masks of the datasets of a split that have the same classes.

    Attributes:
        classes (Sequence[str] | None): The classes.
        reader (MaskReader | None): How the masks are read; None: in a way of the dataset's own.
        looked (int): Number of masks that have been looked at.
        total (int): Number of masks that there are.
        folder (str): Where the first of them lies.
        values (set[int]): Values of good masks.
        defects (dict[str, str]): What is wrong with the others, by file.
    """

    classes: Sequence[str] | None
    reader: MaskReader | None
    looked: int = 0
    total: int = 0
    folder: str = ''
    values: set[int] = field(default_factory=set)
    defects: dict[str, str] = field(default_factory=dict)


def check_masks(split: BuiltSplit) -> Iterator[Problem]:
    """Check masks of segmentation: each is decoded, its size and its labels have to fit, and classes should occur.

    Args:
        split (BuiltSplit): The set. Of a set to train on ``TRAINING_SAMPLE`` masks are looked at, and few bad ones are
            no problem: they are passed over, and named, when they are loaded.
    """
    for survey in survey_masks(split):
        bad = len(survey.defects)
        if split.name != 'train':
            title = f'{bad} masks to evaluate on are bad:'
        else:
            title = f'{bad} of the {survey.looked} masks to train on that were looked at are bad:'
        skippable = split.name == 'train' and bad < survey.looked and (bad < 10 or bad <= TOLERATED * survey.looked)
        if not skippable:
            yield from list_defects(title, [f'{path} {defect}' for path, defect in survey.defects.items()])
        if survey.reader and survey.classes and survey.looked > bad:
            yield from check_occurrence(split.name, survey, survey.reader)


def survey_masks(split: BuiltSplit) -> list[MaskSurvey]:
    """Look at the masks of a split."""
    surveys: dict[Any, MaskSurvey] = {}
    seen = set()
    for dataset in split.datasets:
        reader = mask_reader(dataset)
        if reader is None and not hasattr(dataset, 'mask_defect'):
            continue
        classes = dataset.metainfo.get('classes')
        survey = surveys.setdefault((tuple(classes or ()), reader is None), MaskSurvey(classes, reader))
        survey.total += len(dataset)
        sample = sampled_annotations(dataset, TRAINING_SAMPLE if split.name == 'train' else len(dataset))
        pairs = [(str(info['seg_map_path']), str(info.get('img_path'))) for info in sample if info.get('seg_map_path')]
        found = map_files(pairs, partial(look_at_mask, dataset, reader), f'checking masks ({split.name})')
        for (mask, _), result in found.items():
            if result is None or mask in seen:
                continue
            seen.add(mask)
            survey.looked += 1
            survey.folder = survey.folder or str(Path(mask).parent)
            if isinstance(result, str):
                survey.defects[mask] = result
            else:
                survey.values.update(result)
    return list(surveys.values())


def look_at_mask(dataset: BaseDataset, reader: MaskReader | None, pair: tuple[str, str]) -> str | list[int] | None:
    """What is wrong with a mask file, or the values in it; None if its image is bad, or it lies on no local disk.

    Args:
        dataset (BaseDataset): The dataset that it is of.
        reader (MaskReader | None): How the dataset reads it; None: in a way of its own.
        pair (tuple[str, str]): The mask file and its image file.
    """
    mask, image = pair
    if ':' in mask or is_missing(image) or file_defect(image):
        return None
    defect = file_defect(mask)
    if defect or reader is None:
        return defect or dataset.mask_defect(mask, image) or []
    defect, values = reader.defect(mask, image)
    return defect or values.tolist()


def sampled_annotations(dataset: BaseDataset, most: int) -> Iterator[dict]:
    """What a dataset knows of its images; of so many, evenly spaced, if it has more."""
    from mmengine.dataset import BaseDataset
    for index in np.unique(np.linspace(0, len(dataset) - 1, min(most, len(dataset))).round().astype(int)):
        yield BaseDataset.get_data_info(dataset, int(index))


def check_occurrence(name: str, survey: MaskSurvey, reader: MaskReader) -> Iterator[Problem]:
    """Check that the classes occur in the masks, and that none was written as the label to ignore.

    Args:
        name (str): The split, 'train', 'val' or 'test'.
        survey (MaskSurvey): What has been seen.
        reader (MaskReader): How the masks are read.
    """
    classes, ignored = survey.classes or (), reader.labels.ignore_index
    labels = set(reader.load(np.array(sorted(survey.values))).tolist())
    absent = [str(label) for number, label in enumerate(classes) if number not in labels]
    if len(classes) > 1 and ignored in labels and survey.values <= {0, 255}:
        yield Problem(
            f'{survey.folder}: the masks have no values but {first(sorted(survey.values))}, and {ignored} is the label '
            f'that is ignored, so {", ".join(absent[:SHOWN])} would neither be learnt nor scored. No setting of mmseg '
            f'makes a class of 255: write class numbers (0 and 1 for 0 and 255) into a copy of the masks: {DIVIDE} '
            'FOLDER/*.png')
    elif absent and survey.looked == survey.total:
        more = ', ...' if len(absent) > SHOWN else ''
        yield Problem(f'{name}: {len(absent)} of the {len(classes)} classes occur in none of the {survey.looked} masks '
                      f'in {survey.folder}: {", ".join(absent[:SHOWN])}{more}', fatal=False)


def mask_reader(dataset: BaseDataset) -> MaskReader | None:
    """How a built dataset of mmseg reads its mask files; None if it reads none, or in a way of its own."""
    if hasattr(dataset, 'mask_defect') or 'mmseg.BaseSegDataset' not in ancestors(type(dataset)):
        return None
    transforms = [unguarded(transform) for transform in dataset.pipeline.transforms]
    loader = next(filter(reads_labels, transforms), None)
    if loader is None:
        return None
    classes = dataset.metainfo.get('classes')
    labels = MaskLabels(len(classes) if classes else None, dataset.ignore_index)
    if 'mmseg.LoadAnnotations' not in ancestors(type(loader)):
        return MaskReader(labels, loader.imdecode_backend)
    reduce_zero_label = dataset.reduce_zero_label if loader.reduce_zero_label is None else loader.reduce_zero_label
    return MaskReader(labels, loader.imdecode_backend, bool(reduce_zero_label), dataset.label_map)


def reads_labels(transform: Any) -> bool:
    """Whether a transform reads mask files as the LoadAnnotations of mmseg and mmcv do."""
    bases = ancestors(type(transform))
    return inherits(type(transform), bases.get('mmseg.LoadAnnotations') or bases.get('mmcv.LoadAnnotations'),
                    '_load_seg_map')


def distinct(mask: np.ndarray) -> np.ndarray:
    """The values of a mask, (h, w), sorted."""
    if mask.dtype != np.uint8:
        return np.unique(mask.astype(np.int64) if mask.dtype == bool else mask)
    return np.flatnonzero(np.bincount(mask.ravel(), minlength=256))


def first(values: Sequence[Any] | np.ndarray) -> str:
    """The first of some values in words."""
    return ', '.join([*map(str, values[:SHOWN]), *(['...'] if len(values) > SHOWN else [])])


def spans(numbers: Sequence[int] | np.ndarray) -> str:
    """Sorted numbers in words: '0 to 20 and 255'."""
    groups = np.split(np.asarray(numbers), np.flatnonzero(np.diff(numbers) > 1) + 1)
    return ' and '.join(f'{group[0]} to {group[-1]}' if len(group) > 1 else str(group[0])
                        for group in groups if len(group))


def colour_defect(path: str, mask: np.ndarray, allowed: str) -> str:
    """What is wrong with a mask file of several channels, and how to mend it.

    Args:
        path (str): The file.
        mask (np.ndarray): What was read, (h, w, channels), BGR if there are three or four.
        allowed (str): The values that it may have, in words.
    """
    from PIL import Image
    with Image.open(path) as image:
        mode = image.mode
    if mode == 'P':
        return (f"is a mask with a palette, which imdecode_backend='cv2' reads as colours; {COLOURS}: take "
                "imdecode_backend='pillow' of LoadAnnotations, its default, which reads the numbers")
    pixels = np.asarray(mask).reshape(-1, mask.shape[-1])
    colours = pixels[:, 2::-1] if pixels.shape[1] >= 3 else pixels[:, :1]
    if (colours == colours[:, :1]).all():
        return (f'is a grey mask of {pixels.shape[1]} channels (mode {mode}) with the values '
                f"{first(np.unique(colours))}; {COLOURS}, {allowed}: write its first channel as 8-bit PNG (mode 'L')")
    found = {tuple(colour) for colour in colours[::len(colours) // 10000 + 1].tolist()}  # enough to know it by
    return (f'is a mask in colours, {first(sorted(found))}; {COLOURS}, {allowed}: '
            "write the number of the class for each colour as 8-bit PNG (mode 'L')")


def value_hint(path: str, mask: np.ndarray) -> str:
    """Why a mask file may have values that are not allowed; '' if nothing hints at it."""
    if path.lower().endswith(('.jpg', '.jpeg')):
        return ' (JPEG makes values in between: write masks as PNG)'
    if mask.dtype.itemsize > 1 and mask.size and mask.max() > 255:
        return f' (it is of {8 * mask.dtype.itemsize} bits, of which only the lowest 8 would be read)'
    return ''


def label_defect(mask: np.ndarray, shape: tuple[int, int], labels: MaskLabels) -> str | None:
    """What is wrong with a mask of labels that has been loaded, or None.

    Args:
        mask (np.ndarray): The mask, (h, w) if it is a good one.
        shape (tuple[int, int]): Height and width of its image.
        labels (MaskLabels): What it may hold.
    """
    if mask.ndim != 2:
        return f'is a mask in colours; {COLOURS}'
    defect = size_defect(mask, shape)
    if defect or not labels.num_labels:
        return defect
    wrong = distinct(mask[(mask >= labels.num_labels) & (mask != labels.ignore_index)])
    if len(wrong):
        return (f'is a mask with label{"s" if len(wrong) > 1 else ""} {first(wrong)}; allowed are 0 to '
                f'{labels.num_labels - 1} and {labels.ignore_index}')
    return None
