"""Checks of keypoints in COCO's format, and of files of detected boxes, as mmpose reads them."""
from __future__ import annotations

from typing import Any, Iterator

from .coco_boxes import share_inside
from .coco_file import CocoFile, Id, is_number
from .lists import read_json
from .problems import Problem, list_defects


def check_keypoints(file: CocoFile, count: int) -> Iterator[Problem]:
    """Check the keypoints of every annotation.

    Args:
        file (CocoFile): The file.
        count (int): Number of keypoints of an object in the dataset.
    """
    defects, flags = [], []
    for annotation in file.annotations or []:
        if 'keypoints' not in annotation:
            continue
        keypoints = annotation['keypoints']
        defect = keypoints_defect(keypoints, count)
        if defect:
            defects.append(f'annotation {annotation["id"]}: {defect}')
        elif not set(keypoints[2::3]) <= {0, 1, 2}:
            flags.append(f'annotation {annotation["id"]}: {sorted(set(keypoints[2::3]) - {0, 1, 2})}')
    yield from list_defects(f'{file.path}: {len(defects)} annotations have bad keypoints:', defects)
    yield from list_defects(f'{file.path}: {len(flags)} annotations have visibilities that are not 0, 1 or 2; mmpose '
                            'weighs a keypoint in training by those below 1, and takes those above for 1:', flags,
                            fatal=False)


def keypoints_defect(keypoints: Any, count: int) -> str | None:
    """What is wrong with the keypoints of an annotation, or None."""
    if not isinstance(keypoints, list) or not all(map(is_number, keypoints)):
        return f'keypoints {keypoints!r:.60} must be a list of finite numbers x, y, visibility'
    if len(keypoints) != 3 * count:
        return (f'{len(keypoints)} numbers of keypoints; the dataset has {count} keypoints, so {3 * count} numbers '
                'x, y, visibility')
    return 'a visibility is below 0' if min(keypoints[2::3]) < 0 else None


def check_image_ids(file: CocoFile) -> Iterator[Problem]:
    """Check that the ids of images are integers, which mmpose computes with."""
    yield from list_defects(f'{file.path}: mmpose needs integers as ids of images:',
                            [f'id {key!r}' for key in file.images if type(key) is not int])


def check_usable_objects(file: CocoFile, top_down: bool) -> Iterator[Problem]:
    """Check that there is an object that mmpose keeps when it loads the file.

    Args:
        file (CocoFile): The file.
        top_down (bool): Whether objects without visible keypoints, without area, and crowds are left out.
    """
    annotations = file.annotations or []
    posed = [item for item in annotations if 'bbox' in item and any(item.get('keypoints') or ())]
    if not posed:
        yield Problem(f'{file.path} has no annotation with both keypoints and a bbox')
    elif top_down and not any(is_usable(item, file.images[item['image_id']]) for item in posed):
        yield Problem(f'{file.path}: mmpose leaves out all of its {len(annotations)} annotations: crowds, boxes '
                      'without area in the image, and objects with num_keypoints=0')


def is_usable(annotation: dict, image: dict) -> bool:
    """Whether mmpose keeps an object with keypoints, for which it is given the box."""
    return not annotation.get('iscrowd') and annotation.get('num_keypoints') != 0 and share_inside(
        annotation['bbox'], image) > 0


def check_detections(path: str, file: CocoFile, threshold: float) -> Iterator[Problem]:
    """Check a file of detected boxes, which mmpose uses instead of the annotated ones.

    Args:
        path (str): The file.
        file (CocoFile): The file of the images that the boxes may be of.
        threshold (float): Boxes with a lower score are left out: ``filter_cfg.bbox_score_thr`` of the dataset.
    """
    boxes = read_json(path)
    if not isinstance(boxes, list) or not boxes:
        yield Problem(f'{path} must hold a list of detections')
        return
    wrong = [f'detection number {number}: {defect}' for number, box in enumerate(boxes)
             if (defect := detection_defect(box, file))]
    yield from list_defects(f'{path}: detections that are not of the images of {file.path}, or not well formed:', wrong)
    if wrong:
        return
    persons = [box for box in boxes if box['category_id'] == 1]
    if not persons:
        found = sorted({str(box['category_id']) for box in boxes})
        yield Problem(f'{path}: no detection has category_id 1, a person to mmpose, which leaves out all others; they '
                      f'have {", ".join(found[:10])}')
    elif all(box['score'] < threshold for box in persons):
        yield Problem(f'{path}: no detection has a score of bbox_score_thr={threshold} or more; the best is '
                      f'{max(box["score"] for box in persons)}')
    if file.annotations and all(item['category_id'] != 1 for item in file.annotations):
        yield Problem(f'{file.path}: no annotation has category_id 1, but all poses on the detections of {path} are '
                      'scored as that category')


def detection_defect(box: Any, file: CocoFile) -> str | None:
    """What is wrong with a detected box, or None."""
    if not isinstance(box, dict):
        return f'{box!r:.60} is no object with keys and values'
    missing = [key for key in ('image_id', 'category_id', 'bbox', 'score') if key not in box]
    if missing:
        return f'has no {", ".join(missing)}'
    image_id: Id = box['image_id']
    if type(image_id) not in (int, float, str) or image_id not in file.images:
        return f'image_id {image_id!r:.60} is none of the {len(file.images)} images'
    if not isinstance(box['bbox'], list) or len(box['bbox']) < 4 or not all(map(is_number, box['bbox'][:4])):
        return f'bbox {box["bbox"]!r:.60} must be four finite numbers x, y, width, height'
    return None if is_number(box['score']) else f'score {box["score"]!r:.60} must be a finite number'
