"""Predictions, and that what a product imports needs neither torch nor OpenMMLab."""
import subprocess
import sys

import numpy as np
import pytest

from res2net_mm.apis import Prediction

CLASSES = ('disc', 'square', 'cross')


def detection():
    return Prediction(
        'detection', (8, 10), CLASSES, labels=np.array([2, 0, 2]), scores=np.array([.9, .5, .2], np.float32),
        boxes=np.arange(12, dtype=np.float32).reshape(3, 4), masks=np.arange(240).reshape(3, 8, 10) % 3 == 0)


@pytest.mark.parametrize(('score', 'classes', 'kept'), [
    (0., None, [0, 1, 2]), (.5, None, [0, 1]), (0., ('cross', ), [0, 2]), (.3, ('cross', 'square'), [0]),
    (0., (), []), (.95, None, [])])
def test_select(score, classes, kept):
    whole = detection()
    part = whole.select(score, classes)
    for name in ('labels', 'scores', 'boxes', 'masks'):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[kept])
    assert part.keypoints is None and part.classes == CLASSES and part.size == (8, 10)
    assert len(whole.labels) == 3


def test_what_has_no_objects_is_left_as_it_is():
    segments = Prediction('segmentation', (2, 2), CLASSES, segmentation=np.eye(2, dtype=np.uint8))
    assert segments.select(.9, ('disc', )) is segments


def test_a_product_needs_no_torch():
    """The package, predictions and the runtime of exported files import neither torch nor OpenMMLab."""
    code = ('import sys; from res2net_mm.apis import Prediction; '
            'print(sorted({"torch", "mmengine", "mmcv", "mmdet"} & sys.modules.keys()))')
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert run.stdout == '[]\n', run.stderr
