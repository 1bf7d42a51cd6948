"""What the loading transforms of a dataset read, and the sizes that its images are annotated with."""
from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Iterable, Mapping

from ...utils.config_types import ancestors
from ...utils.images import Decoder
from .lists import read_json
from .problems import BadDataError
from .registry import inherits

if TYPE_CHECKING:
    from mmengine.dataset import BaseDataset


def find_image_loader(transforms: Iterable[Any]) -> Any | None:
    """The transform that decodes image files; None if there is none that ``image_decoder`` knows."""
    return next((loader for loader in map(unguarded, transforms) if image_decoder(loader)), None)


def unguarded(transform: Any) -> Any:
    """The transform that a SkipBadSample is put around; any other as it is."""
    return transform.transform if 'res2net_mm.SkipBadSample' in ancestors(type(transform)) else transform


def image_decoder(transform: Any) -> Decoder | None:
    """How a transform decodes image files; None if it does not, or reads another kind of file in a way of its own."""
    bases = ancestors(type(transform))
    base = bases.get('mmpose.LoadImage') or bases.get('mmcv.LoadImageFromFile')
    if not inherits(type(transform), base, 'transform'):
        return None
    return Decoder(transform.imdecode_backend, transform.color_type)


def reads_local_files(transform: Any) -> bool:
    """Whether a loading transform takes paths as files of this machine, and not as keys of a database."""
    settings = getattr(transform, 'backend_args', None) or getattr(transform, 'file_client_args', None) or {}
    return settings.get('backend', 'local') in ('local', 'disk')


def annotated_size(info: Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width that an image is annotated with; None if they are not known.

    Args:
        info (Mapping): What the dataset, or a file in COCO's format, says of the image.
    """
    height, width = info.get('height'), info.get('width')
    if isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0:
        return height, width
    return None


def knows_sizes(dataset: BaseDataset, info: Mapping[str, Any]) -> bool:
    """Whether a dataset has annotated sizes, as what it says of one image tells: it may have a million."""
    return 'height' in info or 'mmpose.BaseCocoStyleDataset' in ancestors(type(dataset))


def read_sizes(dataset: BaseDataset) -> dict[Any, tuple[int, int]]:
    """Height and width of the images of a dataset of mmpose, by id; nothing for others.

    The dataset itself forgets them. The first process of a distributed run reads them from the file, for all.
    """
    if 'mmpose.BaseCocoStyleDataset' not in ancestors(type(dataset)) or not os.path.isfile(dataset.ann_file):
        return {}
    from mmengine.dist import broadcast_object_list, is_main_process
    sizes: list[dict[Any, tuple[int, int]]] = [{}]
    if is_main_process():
        with suppress(BadDataError, AttributeError, KeyError, TypeError):  # not COCO's format, but one of its own
            images = read_json(dataset.ann_file)['images']
            sizes = [{image['id']: size for image in images if (size := annotated_size(image))}]
    broadcast_object_list(sizes)
    return sizes[0]
