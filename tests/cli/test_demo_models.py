"""What is in demo/: it is small, the models load strictly and say what is true, and the command that makes them."""
import json
import re
import shutil

import cv2
import numpy as np
import pytest
from helpers import ROOT, expect_failure
from safetensors import safe_open

from res2net_mm.apis import Predictor
from res2net_mm.cli.demo_models import HELD_OUT, MODELS, SHAPES_SEEDS
from res2net_mm.cli.demo_models import main as run_demo_models
from res2net_mm.datasets.shapes import CLASSES, draw_image, draw_one_shape, segmentation_mask
from res2net_mm.utils.config import demo_folder

DEMO = ROOT / 'demo'


def overlap(box, other):
    """IoU of two boxes, left, top, right, bottom."""
    (left, top), (right, bottom) = np.maximum(box[:2], other[:2]), np.minimum(box[2:], other[2:])
    both = max(right - left, 0) * max(bottom - top, 0)
    return both / (sum(np.prod(np.subtract(b[2:], b[:2])) for b in (box, other)) - both)


def test_it_is_small_and_has_its_licences():
    assert demo_folder().resolve() == DEMO
    for name in MODELS:
        file = DEMO / 'weights' / f'{name}.safetensors'
        assert file.stat().st_size <= 4_000_000
        with safe_open(file, 'np') as weights:
            kinds = {key: (weights.get_slice(key).get_dtype(), len(weights.get_slice(key).get_shape()))
                     for key in weights.keys()}  # noqa: SIM118  it is no dict
        assert all((kind == 'F16') == (dims > 1) for kind, dims in kinds.values())
    images = sorted(DEMO.glob('*.jpg'))
    assert len(images) == len(HELD_OUT) + len(SHAPES_SEEDS) and all(path.stat().st_size < 60_000 for path in images)
    assert 'MIT License' in (DEMO / 'LICENSE-BCCD').read_text()
    readme = (DEMO / 'README.md').read_text()
    assert all(path.name in readme for path in images) and all(f'`{name}.jpg`' in readme for name in HELD_OUT)


def test_the_tables_have_what_was_measured():
    results = json.loads((DEMO / 'models.json').read_text())
    assert list(results) == sorted(MODELS)
    pages = [(DEMO / 'README.md').read_text(), (ROOT / 'configs' / 'small' / 'README.md').read_text()]
    for name, result in results.items():
        for page in pages:
            row = re.search(rf'(?m)^\| \[{name}[.\]].*', page)[0]
            assert all(f'{what} {value:.1f}' in row for what, value in result['measured'].items()), row
        assert f'{(DEMO / "weights" / f"{name}.safetensors").stat().st_size / 1e6:.2f} MB' in pages[0]


def test_the_detector_finds_the_shapes_of_the_demos_images():
    detector = Predictor('demo', device='cpu')
    files = [DEMO / f'shapes_{number}.jpg' for number in range(1, len(SHAPES_SEEDS) + 1)]
    drawn = [draw_image(np.random.default_rng(seed), 256) for seed in SHAPES_SEEDS]
    images = [cv2.imread(str(file)) for file in files]
    found = sure = 0
    for (image, objects), read, prediction in zip(drawn, images, detector(images)):
        assert np.abs(image.astype(int) - read).mean() < 8  # but for JPEG it is the generated image
        kept = prediction.select(0.5)
        sure += len(kept.labels)
        for label, mask in objects:
            left, top, width, height = cv2.boundingRect(mask)
            true = left, top, left + width, top + height
            found += any(kept.classes[i] == CLASSES[label] and overlap(box, true) > 0.5
                         for i, box in zip(kept.labels, kept.boxes))
    total = sum(len(objects) for _, objects in drawn)
    assert found >= 0.7 * total and sure <= 1.5 * total


def test_the_detector_finds_blood_cells():
    images = [cv2.imread(str(path)) for path in sorted(DEMO.glob('blood_cells_*.jpg'))]
    for prediction in Predictor('demo', device='cpu')(images):
        kept = prediction.select(0.5)
        names = [kept.classes[label] for label in kept.labels]
        assert names.count('white blood cell') >= 1 and names.count('red blood cell') >= 5  # as BCCD has them
        assert not set(names) & set(CLASSES)


def test_the_segmentor_finds_the_shapes():
    segmentor = Predictor('demo_deeplabv3plus_r2n26', device='cpu')
    images, masks = [], []
    for seed in range(200, 204):
        image, objects = draw_image(np.random.default_rng(seed), 256)
        images.append(image), masks.append(segmentation_mask(objects, 256))
    assert segmentor.classes == ('background', 'shape')
    for prediction, mask in zip(segmentor(images), masks):
        found = prediction.segmentation
        assert (found & mask).sum() / (found | mask).sum() > 0.75
        assert ((1 - found) & (1 - mask)).sum() / ((1 - found) | (1 - mask)).sum() > 0.95


def test_the_classifier_names_the_shape():
    classifier = Predictor('demo_classifier_r2n26', device='cpu')
    rng = np.random.default_rng(300)
    names = [CLASSES[i % 4] for i in range(20)]
    images = [draw_one_shape(rng, name, 64, (12, 40))[0] for name in names]
    images[0] = cv2.resize(images[0], (128, 128))  # images of any size
    right = [prediction.classes[prediction.labels[0]] == name for prediction, name in zip(classifier(images), names)]
    assert sum(right) >= 14
    for name in CLASSES:
        shipped, = classifier([cv2.imread(str(DEMO / 'one_shape' / f'{name}.jpg'))])
        assert shipped.classes[shipped.labels[0]] == name


def test_it_names_what_it_can_make(tmp_path, capsys):
    expect_failure(capsys, run_demo_models, ['demo'], "'demo' must be one of demo_faster_rcnn_r2n26, .*, images")
    out = ['--work-dir', str(tmp_path / 'work'), '--out', str(tmp_path / 'out')]
    expect_failure(capsys, run_demo_models, ['images', *out], '--bccd DIR is needed')
    expect_failure(capsys, run_demo_models, ['images', '--bccd', str(tmp_path), *out],
                   f'{HELD_OUT[0]}.jpg.*does not exist')
    expect_failure(capsys, run_demo_models, ['demo_faster_rcnn_r2n26', *out], '--bccd DIR is needed')
    assert not list((tmp_path / 'out' / 'weights').iterdir()) and not list(tmp_path.glob('out/*.jpg'))


@pytest.mark.slow
def test_makes_a_model_from_data_to_tested_weights(tmp_path, capfd):
    """And a second time from what is there already; the backbone starts from the one of another model."""
    name, start = 'demo_classifier_r2n26', 'demo_faster_rcnn_r2n26.safetensors'
    weights = tmp_path / 'out' / 'weights'
    weights.mkdir(parents=True)
    shutil.copy2(DEMO / 'weights' / start, weights)
    command = [name, '--quick', '--work-dir', str(tmp_path / 'work'), '--out', str(tmp_path / 'out')]
    run_demo_models(command)
    result = json.loads((tmp_path / 'out' / 'models.json').read_text())[name]
    assert set(result['measured']) == set(MODELS[name].measures) and result['megabytes'] < 4
    made = (weights / f'{name}.safetensors').read_bytes()
    assert f'{weights / start}' in capfd.readouterr().out
    run_demo_models(command)
    assert 'tools/train.py' not in capfd.readouterr().out
    assert (weights / f'{name}.safetensors').read_bytes() == made and len(list(weights.iterdir())) == 2
