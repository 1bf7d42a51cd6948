"""What the names of inputs mean, what inputs are called, and what is said of those that are none."""
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import cv2
import numpy as np
import pytest

from res2net_mm.apis import inputs
from res2net_mm.apis.inputs import find_inputs, read_frames
from res2net_mm.utils.errors import UserError

PICTURE = cv2.imencode('.png', np.full((20, 30, 3), 90, np.uint8))[1].tobytes()


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('a/1.jpg', 'a/2.PNG', 'a/b/1.jpg', 'a/.hidden/3.jpg', 'a/.4.jpg', 'a/notes.txt', 'c/1.jpg', 'c/v.mp4',
                 'empty/notes.txt', '7'):
        os.makedirs(os.path.dirname(name) or '.', exist_ok=True)
        with open(name, 'wb') as file:
            file.write(PICTURE)
    return tmp_path


@pytest.mark.parametrize('given, names', [
    (['a'], ['1.jpg', '2.PNG', 'b/1.jpg']),
    (['a/'], ['1.jpg', '2.PNG', 'b/1.jpg']),
    (['a/b/1.jpg'], ['1.jpg']),
    (['a/*'], ['1.jpg', '2.PNG']),
    (['a/**/1.jpg'], ['1.jpg', 'b/1.jpg']),  # two of one name: from the folder that they share
    (['a', 'c'], ['a/1.jpg', 'a/2.PNG', 'a/b/1.jpg', 'c/1.jpg']),
    (['a', 'a/1.jpg'], ['1.jpg', '2.PNG', 'b/1.jpg']),  # once
    (['c/v.mp4', 'c/1.jpg'], ['v.mp4', '1.jpg']),
    (['7', '3'], ['7', 'camera3.mp4']),  # a file of that name is a file
    (['http://x.org/p/cat.jpg?s=1', 'https://y.org/cat.jpg', 'http://x.org/'], ['cat.jpg', 'cat_2.jpg', 'image.jpg']),
])
def test_inputs_and_their_names(given, names, tree):
    found = find_inputs(given)
    assert [one.name for one in found] == names
    kinds = {one.name: one.kind for one in found}
    assert kinds.get('v.mp4', 'video') == 'video' and kinds.get('camera3.mp4', 'camera') == 'camera'
    assert kinds.get('cat.jpg', 'address') == 'address' and kinds.get('1.jpg', 'image') == 'image'


@pytest.mark.parametrize('given, message', [
    ('nothing.jpg', "input 'nothing.jpg' does not exist: wanted is an image, a video, a folder"),
    ('empty', "folder 'empty' has no image in it"),
    ('a/*.gif', r"pattern 'a/\*.gif' fits no image and no video"),
])
def test_inputs_that_are_none(given, message, tree):
    with pytest.raises(UserError, match=message):
        find_inputs(['a', given])


def test_the_folder_of_the_results_is_left_out(tree):
    assert [one.name for one in find_inputs(['a'], ignored='a/b')] == ['1.jpg', '2.PNG']


class Host(BaseHTTPRequestHandler):
    def do_GET(self):  # noqa: N802
        content = {'/good.png': PICTURE, '/empty.png': b'', '/page.png': b'<html>', '/large.png': b'\x89PNG' * 100}.get(
            self.path)
        self.send_response(200 if content is not None else 404)
        self.send_header('Content-Length', str(len(content or b'')))
        self.end_headers()
        self.wfile.write(content or b'')

    def log_message(self, *arguments):
        pass


@pytest.fixture
def host():
    server = HTTPServer(('127.0.0.1', 0), Host)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    server.server_close()


def test_images_at_addresses(host, monkeypatch):
    frame, = read_frames(find_inputs([f'{host}/good.png'])[0])
    assert frame.image.shape == (20, 30, 3) and frame.number is None
    monkeypatch.setattr(inputs, 'MOST_BYTES', 200)
    for name, message in (('empty.png', 'is empty'), ('page.png', 'is not an image'),
                          ('no.png', 'cannot be fetched: .*404'), ('large.png', 'sends more than 200 bytes')):
        with pytest.raises(OSError, match=message) as error:
            list(read_frames(find_inputs([f'{host}/{name}'])[0]))
        assert f'{host}/{name}' in str(error.value) and '/tmp' not in str(error.value).replace(host, '')
