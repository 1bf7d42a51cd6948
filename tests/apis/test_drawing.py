"""Drawn predictions: what is drawn where, that text can be read, and how long it takes."""
import time

import numpy as np
import pytest

from res2net_mm.apis import Prediction, draw_prediction
from res2net_mm.apis.drawing import colour_of, font_size, overlap, text_mask

SIZE = (240, 320)
GREY = np.full((*SIZE, 3), 128, np.uint8)
NAMES = ('cat', 'dog', 'Größe', '背景')


def objects(boxes, labels=None, scores=None, **more):
    number = len(boxes)
    scores = np.array(scores or np.linspace(0.9, 0.5, number), np.float32)
    return Prediction('detection', SIZE, NAMES, np.array(labels or [0] * number, int), scores,
                      np.array(boxes, np.float32), **more)


def changed(drawn, image=GREY):
    return (drawn != image).any(-1)


def test_boxes_have_their_class_colour_and_a_label_inside_the_image():
    drawn = draw_prediction(GREY, objects([[100, 60, 200, 160]]))
    assert (drawn[100, 100] == colour_of(0)).all() and (drawn[160, 150] == colour_of(0)).all()
    assert changed(drawn)[40:60, 101:140].any() and not changed(drawn)[:30].any() and not changed(drawn)[170:].any()
    assert (GREY == 128).all()  # it is a copy
    for box in ([0, 0, 320, 240], [300, 230, 320, 240], [-20, -20, 10, 10], [310, 0, 320, 5]):
        height, width = text_mask('cat 0.90', font_size(GREY)).shape
        drawn = draw_prediction(GREY, objects([box]))
        ground = (drawn == colour_of(0)).all(-1)
        assert ground.sum() > 0.3 * height * width  # the whole label, not a part of it


def test_low_scores_and_other_classes_are_not_drawn():
    two = objects([[10, 40, 60, 90], [200, 40, 260, 90]], labels=[0, 1], scores=[0.9, 0.2])
    assert not changed(draw_prediction(GREY, two))[:, 190:].any()
    assert changed(draw_prediction(GREY, two, score=0.1))[:, 190:].any()
    assert not changed(draw_prediction(GREY, two, score=0.1, classes=['dog']))[:, :150].any()
    assert not changed(draw_prediction(GREY, two, score=0.95)).any()


def test_labels_of_one_place_do_not_cover_each_other():
    drawn = draw_prediction(GREY, objects([[100, 100, 160, 160]] * 3, labels=[0, 1, 2]))
    size = font_size(GREY)
    for label, score in ((0, 0.9), (1, 0.7), (2, 0.5)):
        mask = text_mask(f'{NAMES[label]} {score:.2f}', size)
        ground = (drawn == colour_of(label)).all(-1).sum()
        assert ground > 0.4 * mask.size, NAMES[label]
    assert overlap((0, 0, 2, 2), (1, 1, 2, 2)) and not overlap((0, 0, 2, 2), (2, 0, 2, 2))


def test_masks_are_blended_and_keypoints_joined():
    mask = np.zeros((1, *SIZE), bool)
    mask[0, 50:100, 50:100] = True
    drawn = draw_prediction(GREY, objects([[50, 50, 100, 100]], masks=mask))
    assert np.abs(drawn[75, 75].astype(int) - (128 + np.array(colour_of(0))) // 2).max() <= 1

    points = np.array([[[50, 50, 1], [150, 50, 1], [50, 150, 0.1]]], np.float32)
    pose = Prediction('keypoints', SIZE, ('person', ), np.array([0]), np.array([0.9], np.float32),
                      np.array([[0, 0, 320, 240]], np.float32), keypoints=points, skeleton=((0, 1), (0, 2)))
    drawn = changed(draw_prediction(GREY, pose))
    assert drawn[50, 100] and not drawn[100, 50] and not drawn[150, 50]  # the third is not sure
    assert not drawn[0].any()  # the whole image is no box


def test_segments_saliency_and_classes():
    labels = np.zeros(SIZE, np.uint8)
    labels[:, 200:] = 1
    drawn = draw_prediction(GREY, Prediction('segmentation', SIZE, ('background', 'dog'), segmentation=labels))
    assert not changed(drawn)[100:, :195].any() and changed(drawn)[:, 205:].all() and changed(drawn)[:9, :9].all()
    both = Prediction('segmentation', SIZE, ('cat', 'dog'), segmentation=labels)
    drawn = draw_prediction(GREY, both, classes=['dog'])
    assert not changed(drawn)[100:, :195].any()

    saliency = np.zeros(SIZE, np.float32)
    saliency[:, 200:] = 1
    drawn = draw_prediction(GREY, Prediction('saliency', SIZE, ('background', 'salient'), saliency=saliency))
    assert (drawn[:, 200:] == 128).all() and (drawn[:, :200] == 32).all()

    drawn = draw_prediction(GREY, Prediction('classification', SIZE, NAMES, np.arange(4), np.full(4, .25, np.float32)))
    assert [(drawn == colour_of(label)).all(-1).any() for label in range(4)] == [True] * 4


@pytest.mark.parametrize('size', [(1, 1), (3, 200), (40, 30), (2000, 3000)])
def test_text_suits_any_size(size):
    image = np.full((*size, 3), 128, np.uint8)
    box = np.array([[0, 0, size[1], size[0]]], np.float32)
    drawn = draw_prediction(image, Prediction('detection', size, NAMES, np.array([2]), np.array([.9], np.float32), box))
    assert drawn.shape == image.shape
    assert font_size(image) >= 10 and (size != (2000, 3000) or font_size(image) > 50)


def test_an_empty_prediction_changes_nothing_and_another_size_is_an_error():
    assert (draw_prediction(GREY, objects(np.zeros((0, 4)), scores=None)) == GREY).all()
    with pytest.raises(ValueError, match='the prediction is of an image of 240 x 320'):
        draw_prediction(GREY[:100], objects([[0, 0, 9, 9]]))


def test_ten_boxes_with_masks_take_less_than_30_ms():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (480, 640, 3), dtype=np.uint8)
    corners = rng.uniform(0, 300, (10, 2))
    boxes = np.hstack([corners, corners + 150]).astype(np.float32)
    masks = np.zeros((10, 480, 640), bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes.astype(int), strict=True):
        mask[top:bottom, left:right] = True
    found = Prediction('detection', (480, 640), NAMES, np.zeros(10, int), np.full(10, 0.8, np.float32), boxes, masks)
    draw_prediction(image, found)
    times = []
    for _ in range(9):
        start = time.process_time()
        draw_prediction(image, found)
        times.append(time.process_time() - start)
    assert sorted(times)[1] < 0.03


def test_names_of_classes_leave_half_of_a_small_image_free():
    image = np.full((64, 64, 3), 90, np.uint8)
    classes = tuple('abcdef')
    drawn = draw_prediction(image, Prediction('classification', (64, 64), classes, np.arange(6), np.full(6, .1, 'f')))
    assert (drawn[:14] != image[:14]).any() and (drawn[33:] == image[33:]).all()
