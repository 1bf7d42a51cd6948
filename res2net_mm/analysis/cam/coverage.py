"""How much of an object a map covers, as numbers: by the boxes of an annotation file and by object size."""
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...utils.text import console

HOT = 0.2  # of the maximum: where a map is 'on', the threshold of CAM's own localisation (arXiv 1512.04150)
SIZES = {'small': 32**2, 'medium': 96**2, 'large': float('inf')}  # COCO's: most pixels of the photo


class Box(NamedTuple):
    """An object of an annotation file: its class by name, x, y, width and height, and its area in pixels."""

    category: str
    box: list
    area: float

    @property
    def size(self):
        return next(name for name, limit in SIZES.items() if self.area <= limit)


def read_boxes(path, photos):
    """Read the objects of photos from a COCO-style file.

    An object that shares its photo with another of its class is left out: a classifier's map can't be divided among
    them, and every model is to be asked about the same objects.

    Args:
        path (str | Path): The annotation file; photos are found in it by their file names.
        photos (list[Path]): The photos.

    Returns:
        dict[Path, list[Box]]: The objects of every photo.

    Raises:
        OSError, ValueError: If the file cannot be read, is of another format, or knows none of the photos.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"--boxes: '{path}' does not exist")
    try:
        content = json.loads(Path(path).read_text())
        categories = {category['id']: category['name'] for category in content['categories']}
        images = {Path(image['file_name']).name: image['id'] for image in content['images']}
        found = {image: [] for image in images.values()}
        for annotation in content['annotations']:
            found[annotation['image_id']].append((annotation, Box(
                categories[annotation['category_id']], annotation['bbox'],
                annotation.get('area') or annotation['bbox'][2] * annotation['bbox'][3])))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"--boxes: '{path}' is not in COCO's format: {type(error).__name__}: {error}") from error
    known = [photo for photo in photos if photo.name in images]
    if not known:
        raise ValueError(f"--boxes: '{path}' has none of the photos, such as {photos[0].name}")
    boxes = {}
    for photo in known:
        objects = found[images[photo.name]]
        names = [box.category for _, box in objects]
        boxes[photo] = [box for annotation, box in objects
                        if names.count(box.category) == 1 and not annotation.get('iscrowd')]
    return boxes


def cover(heat, region):
    """Say how a map lies to an object's box.

    Args:
        heat (np.ndarray): (h, w), the map.
        region (np.ndarray): (h, w) bool, the box.

    Returns:
        dict[str, float]: ``energy``, the share of the map's sum that is inside the box; ``covered``, the share of the
        box where the map is at least 20 % of its maximum. Both are 0 for an empty map.
    """
    if not heat.any():
        return dict(energy=0., covered=0.)
    return dict(energy=float(heat[region].sum() / heat.sum()), covered=float((heat[region] >= HOT * heat.max()).mean()))


def measure_photo(subjects, photo, boxes):
    """Measure how every model's maps cover the objects of a photo: a list of dicts, one for each object."""
    measured = []
    seen = [subject.see(photo) for subject in subjects]
    for box in boxes:
        record = dict(photo=photo.name, category=box.category, size=box.size, models={})
        for subject, view in zip(subjects, seen):
            region = subject.region(photo, box.box)
            if not region.any():
                continue  # cropped away
            heat, answer = subject.explain(view, subject.classes.index(box.category), region)
            result = dict(share_of_picture=float(region.mean()), found=answer is not None)
            record['models'][subject.name] = result if heat is None else {**result, **cover(heat, region)}
        if len(record['models']) == len(subjects):
            measured.append(record)
    return measured


def summarise(measured, names):
    """Means over the objects that all models found, by size: numbers for JSON."""
    common = [record for record in measured if all(record['models'][name]['found'] for name in names)]
    table = {}
    for size in ('all', *SIZES):
        of_size = [record for record in common if size in ('all', record['size'])]
        asked = [record for record in measured if size in ('all', record['size'])]
        table[size] = dict(objects=len(of_size), models={})
        for name in names:
            results = [record['models'][name] for record in of_size]
            means = {key: float(np.mean([result[key] for result in results])) if results else None
                     for key in ('share_of_picture', 'energy', 'covered')}
            missed = sum(not record['models'][name]['found'] for record in asked)
            table[size]['models'][name] = dict(**means, missed=missed)
    return table


def draw_coverage(measured, summary, names, path):
    """Draw energy and covered share over the object's size: an object is a dot, the means are in the legend."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt
    figure, axes = plt.subplots(2, 2, figsize=(11, 8.5), layout='constrained', width_ratios=(3, 2))
    what = dict(energy="share of the map's energy inside the box",
                covered=f'share of the box that is hot (≥ {HOT:.0%} of the maximum)')
    common = [record for record in measured if all(record['models'][name]['found'] for name in names)]
    sizes = [size for size in SIZES if summary[size]['objects']]
    smallest = min(record['models'][name]['share_of_picture'] for record in common for name in names)
    least = 10**np.floor(np.log10(smallest))
    for (left, right), (key, label) in zip(axes, what.items()):
        for i, name in enumerate(names):
            results = [record['models'][name] for record in common]
            shares = [result['share_of_picture'] for result in results]
            left.scatter(shares, [result[key] for result in results], s=14, alpha=.6, label=name)
            values = [summary[size]['models'][name][key] for size in sizes]
            places = np.arange(len(sizes)) + (i - (len(names) - 1) / 2) * .8 / len(names)
            bars = right.bar(places, values, .8 / len(names), label=name)
            right.bar_label(bars, fmt='%.2f', fontsize=8)
        left.set(xscale='log', xlim=(least, 1), ylim=(-.03, 1.03), xlabel="the box's share of the picture")
        left.set_ylabel(label)
        right.set(ylim=(0, 1.08), ylabel='mean')
        right.set_xticks(range(len(sizes)), [f'{size}\n{summary[size]["objects"]} objects' for size in sizes])
    share = np.geomspace(least, 1)
    axes[0, 0].plot(share, share, 'k:', linewidth=1, label='a map that is the same everywhere')
    axes[0, 0].legend(fontsize=8, loc='upper left')
    figure.savefig(path, dpi=110)
    plt.close(figure)


def print_coverage(summary):
    from rich.table import Table
    table = Table(title='How maps lie to the boxes of objects, on those that all models found')
    for head in ('size', 'objects', 'model', 'box / picture', 'energy in box', 'box covered', 'missed'):
        table.add_column(head, justify='left' if head in ('size', 'model') else 'right', overflow='fold')
    for size, row in summary.items():
        for name, means in row['models'].items():
            shown = ['-' if means[key] is None else f'{means[key]:.3f}'
                     for key in ('share_of_picture', 'energy', 'covered')]
            table.add_row(size, str(row['objects']), name, *shown, str(means['missed']))
        table.add_section()
    console().print(table)
