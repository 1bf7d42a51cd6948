"""Runs of predictions with a stand-in for the model: bad inputs, what is written, and going on when interrupted."""
import json
import sys

import cv2
import numpy as np
import pytest
import torch
from helpers import DEMO, cut

from res2net_mm import apis
from res2net_mm.apis import Prediction, Predictor, predict
from res2net_mm.apis.model_files import ModelFiles
from res2net_mm.apis.predict import PredictionRun
from res2net_mm.utils.errors import UserError

CLASSES = ('square', 'disc')


class Model(Predictor):
    """Finds one square, whose score is the brightness of the image, and one disc; remembers its batches."""

    task, classes, name, files = 'detection', CLASSES, 'stand_in', ModelFiles(DEMO, 'weights.pth')
    device, amp, accelerate, detector = torch.device('cpu'), None, None, None

    def __init__(self, fails_on=None):
        self.batches, self.fails_on = [], fails_on

    def __call__(self, images):
        self.batches.append([int(image[0, 0, 0]) for image in images])
        if any(image[0, 0, 0] == self.fails_on for image in images):
            raise RuntimeError('cannot\ncompute')
        return [Prediction('detection', image.shape[:2], CLASSES, np.array([0, 1]),
                           np.array([image[0, 0, 0] / 255, 0.1], np.float32),
                           np.array([[1, 2, 11, 14], [0, 0, 4, 4]], np.float32)) for image in images]


@pytest.fixture
def folder(tmp_path):
    """Six grey images, 10.png to 60.png, of as many grey values; 30 is in a folder inside."""
    for value in (10, 20, 30, 40, 50, 60):
        path = tmp_path / 'images' / ('inside' if value == 30 else '') / f'{value}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((32, 40, 3), value, np.uint8))
    return tmp_path / 'images'


def names(results):
    return [result.input.name for result in results]


def read(path):
    return json.loads(path.read_text())


def test_results_in_order_pictures_and_records(folder, tmp_path):
    model = Model()
    results = list(predict(model, folder, batch_size=4, out=tmp_path / 'out', json=tmp_path / 'a' / 'r.json'))
    assert names(results) == ['10.png', '20.png', '40.png', '50.png', '60.png', 'inside/30.png']
    assert model.batches == [[10, 20, 40, 50], [60, 30]]
    for result in results:
        assert result.prediction.scores[0] == pytest.approx(result.image[0, 0, 0] / 255)
        assert cv2.imread(str(result.picture)).shape == (32, 40, 3)
    assert sorted(path.name for path in (tmp_path / 'out').rglob('*.*')) == [f'{n}0.png' for n in range(1, 7)]
    records = read(tmp_path / 'a' / 'r.json')
    assert [record['image_id'] for record in records] == [10, 10, 20, 20, 40, 40, 50, 50, 60, 60, 30, 30]
    assert records[0] == dict(image_id=10, category_id=1, category='square', score=float(str(np.float32(10 / 255))),
                              bbox=[1, 2, 10, 12])
    assert list((tmp_path / 'a').iterdir()) == [tmp_path / 'a' / 'r.json']


def test_scores_and_classes(folder, tmp_path):
    results = list(predict(Model(), folder / '60.png', score=0.2, classes=['square', 'disc'], json=tmp_path / 'r.json'))
    assert len(results[0].prediction.labels) == 1 == len(read(tmp_path / 'r.json'))
    results = list(predict(Model(), folder / '60.png', classes=['disc'], json=tmp_path / 'r.json'))
    assert results[0].prediction.labels.tolist() == [1] and read(tmp_path / 'r.json')[0]['category'] == 'disc'
    with pytest.raises(UserError, match="class 'squares' is none of stand_in; did you mean square?"):
        predict(Model(), folder, classes=['squares'])
    with pytest.raises(UserError, match="class 'x' is none of stand_in; there are square, disc"):
        predict(Model(), folder, classes=['x'])


def test_bad_images_in_the_middle_of_batches_are_named_and_left_out(folder, tmp_path):
    cut(folder / '20.png')
    (folder / '50.png').write_bytes(b'')
    model = Model(fails_on=40)
    run = predict(model, folder, batch_size=3, out=tmp_path / 'out', json=tmp_path / 'r.json')
    results = list(run)
    assert names(results) == ['10.png', '20.png', '40.png', '50.png', '60.png', 'inside/30.png'] and run.bad == 3
    errors = {result.input.name: result.error for result in results if result.error}
    assert list(errors) == ['20.png', '40.png', '50.png']
    assert "20.png' is cut off" in errors['20.png'] and "50.png' is empty" in errors['50.png']
    assert errors['40.png'].endswith("40.png': the model fails on it: RuntimeError: cannot compute")
    assert {record['image_id'] for record in read(tmp_path / 'r.json')} == {10, 60, 30}
    assert not (tmp_path / 'out' / '40.png').exists()

    cv2.imwrite(str(folder / '20.png'), np.full((32, 40, 3), 20, np.uint8))  # what is mended is tried again
    again = predict(model, folder, batch_size=3, out=tmp_path / 'out', json=tmp_path / 'r.json', resume=True)
    assert names(again) == ['20.png', '40.png', '50.png'] and again.skipped == 3 and again.bad == 2
    assert {record['image_id'] for record in read(tmp_path / 'r.json')} == {10, 20, 60, 30}


def test_the_only_input_or_the_first_of_all_is_an_error(folder, tmp_path):
    (folder / '10.png').write_bytes(b'')
    with pytest.raises(UserError, match="10.png' is empty"):
        list(predict(Model(), folder / '10.png'))
    with pytest.raises(RuntimeError, match='cannot'):  # it has worked on none: then it is the model
        list(predict(Model(fails_on=20), folder / '20.png'))


def test_an_interrupted_run_goes_on(folder, tmp_path):
    outputs = dict(out=tmp_path / 'out', json=tmp_path / 'r.json')
    whole = predict(Model(), folder, out=tmp_path / 'whole', json=tmp_path / 'whole.json')
    list(whole)
    run = predict(Model(), folder, **outputs)
    first = [next(run).input.name for _ in range(3)]
    run.close()
    assert not (tmp_path / 'r.json').exists()
    with open(tmp_path / 'r.json.progress.jsonl', 'ab') as file:
        file.write(b'{"name": "50.png", "records": [{"im')  # the process was killed within a line
    (tmp_path / 'out' / '20.png').unlink()
    model = Model()
    run = predict(model, folder, **outputs, resume=True)
    assert run.skipped == 2
    assert names(run) == ['20.png', '50.png', '60.png', 'inside/30.png'] and first == ['10.png', '20.png', '40.png']

    def by_image(path):
        return sorted(read(path), key=lambda record: (record['image_id'], record['category_id']))
    assert by_image(tmp_path / 'r.json') == by_image(tmp_path / 'whole.json')
    assert not list(tmp_path.glob('*.jsonl'))


def test_another_run_is_not_gone_on_with(folder, tmp_path, monkeypatch):
    def start(**changes):
        run = predict(changes.pop('model', None) or Model(), changes.pop('inputs', folder),
                      out=changes.pop('out', tmp_path / 'out'), json=tmp_path / 'r.json', **changes)
        next(run)
        run.close()
        return run
    start()
    for changes, what in ((dict(score=0.5), 'score'), (dict(classes=['disc']), 'classes'),
                          (dict(inputs=folder / 'inside'), 'inputs'), (dict(out=tmp_path / 'b'), 'pictures')):
        with pytest.raises(UserError, match=f'is of another run, with another {what}: '):
            start(**changes, resume=True)
    other = Model()
    other.files = ModelFiles(DEMO, 'other.pth')
    with pytest.raises(UserError, match='another checkpoint: .* or start anew without --resume'):
        start(model=other, resume=True)
    other.files = ModelFiles(DEMO, str(tmp_path / 'file.pth'))
    (tmp_path / 'file.pth').write_bytes(b'1')
    start(model=other)
    (tmp_path / 'file.pth').write_bytes(b'12')  # trained on
    with pytest.raises(UserError, match='another checkpoint'):
        start(model=other, resume=True)
    assert start(model=other).skipped == 0  # anew
    with pytest.raises(UserError, match='give it out or json'):
        predict(Model(), folder, resume=True)


def test_what_cannot_be(folder, tmp_path):
    with pytest.raises(UserError, match='batch size 0: must be 1 or more'):
        predict(Model(), folder, batch_size=0)
    with pytest.raises(UserError, match='would be overwritten by its picture'):
        predict(Model(), folder, out=folder)
    with pytest.raises(UserError, match='is given to the Predictor'):
        predict(Model(), folder, checkpoint='a.pth')
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match="folder .*file' cannot be made"):
        predict(Model(), folder, out=tmp_path / 'file')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['file', 'images']


def test_no_memory_is_one_sentence(folder, monkeypatch):
    def no_memory(self, images):
        raise torch.cuda.OutOfMemoryError('CUDA out of memory')
    monkeypatch.setattr(Model, '__call__', no_memory)
    with pytest.raises(UserError, match='not enough memory for 2 images at once: choose a smaller batch size'):
        list(predict(Model(), folder, batch_size=2))


def test_results_of_an_earlier_run_inside_the_folder_are_no_inputs(folder):
    list(predict(Model(), folder, out=folder / 'out'))
    assert len(list(predict(Model(), folder, out=folder / 'out'))) == 6


def write_video(path, values, size=(64, 48)):
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 10, size)
    for value in values:
        video.write(np.full((size[1], size[0], 3), value, np.uint8))
    video.release()


def test_a_video_makes_a_video_and_records_of_its_images(folder, tmp_path):
    write_video(tmp_path / 'clip.mp4', [40, 80, 120, 160, 200])
    (tmp_path / 'broken.mp4').write_bytes(b'no video')
    (tmp_path / 'empty.avi').write_bytes(b'')
    inputs = [tmp_path / 'clip.mp4', tmp_path / 'broken.mp4', tmp_path / 'empty.avi', folder / '10.png']
    run = predict(Model(), inputs, batch_size=2, out=tmp_path / 'out', json=tmp_path / 'r.json')
    results = list(run)
    assert [(result.input.name, result.frame) for result in results] == [
        *(('clip.mp4', number) for number in range(5)), ('broken.mp4', None), ('empty.avi', None), ('10.png', None)]
    assert "broken.mp4' cannot be opened: it is broken" in results[5].error and "avi' is empty" in results[6].error
    drawn = cv2.VideoCapture(str(tmp_path / 'out' / 'clip.mp4'))
    assert (drawn.get(cv2.CAP_PROP_FRAME_COUNT), drawn.get(cv2.CAP_PROP_FPS)) == (5, 10)
    assert {record['image_id'] for record in read(tmp_path / 'r.json')} == {*(f'clip.mp4#{n}' for n in range(5)), 10}
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['10.png', 'clip.mp4']

    run = predict(Model(), inputs, batch_size=2, out=tmp_path / 'two', json=tmp_path / 'two.json')
    for _ in range(3):
        next(run)
    run.close()  # a video that is not whole is made anew
    assert list((tmp_path / 'two').iterdir()) == []
    run = predict(Model(), inputs, batch_size=2, out=tmp_path / 'two', json=tmp_path / 'two.json', resume=True)
    assert len(list(run)) == 8 and read(tmp_path / 'two.json') == read(tmp_path / 'r.json')


class Camera:
    """A camera with endless images."""

    def __init__(self, index):
        self.index = index

    def isOpened(self):  # noqa: N802
        return self.index == 0

    def get(self, property):
        return 0.

    def read(self):
        return True, np.full((48, 64, 3), 100, np.uint8)

    def release(self):
        pass


def test_the_run_of_a_camera_ends_when_it_is_closed(tmp_path, monkeypatch):
    capture = cv2.VideoCapture
    monkeypatch.setattr(cv2, 'VideoCapture', lambda source: Camera(source) if isinstance(source, int) else
                        capture(source))
    run = predict(Model(), '0', out=tmp_path / 'out', json=tmp_path / 'r.json')
    assert [next(run).frame for _ in range(4)] == [0, 1, 2, 3]
    run.close()
    assert capture(str(tmp_path / 'out' / 'camera0.mp4')).get(cv2.CAP_PROP_FRAME_COUNT) == 4
    assert len(read(tmp_path / 'r.json')) == 8 and not list(tmp_path.glob('*.jsonl'))
    with pytest.raises(UserError, match='camera 7 cannot be opened: there is none of this index'):
        next(predict(Model(), '7'))


def test_the_name_of_the_function_is_not_that_of_its_module(folder):
    apis.predict = sys.modules['res2net_mm.apis.predict']  # as Python does when it has imported the module
    assert apis.predict is predict and isinstance(predict(Model(), folder), PredictionRun)
