"""tools/app.py: the page, what it refuses, the process behind it, and how it looks and works in a browser."""
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers import (
    ROOT,
    TOOLS,
    config_path,
    expect_failure,
    free_port,
    random_model,
    write_image_bomb,
    write_turned_image,
)

from res2net_mm.apis.model_files import demo_models
from res2net_mm.apis.prediction import Prediction
from res2net_mm.cli import app
from res2net_mm.cli.app_models import SIDE, Limits, LoadModels, Map, Question, Reply, describe, read_upload
from res2net_mm.cli.app_page import build_page, error_html, serve_page
from res2net_mm.cli.app_worker import Worker
from res2net_mm.utils.config import demo_folder, load_config
from res2net_mm.utils.errors import UserError

CHROMIUM = '/usr/bin/chromium'
TASKS = {'boxes': 'detection', 'more boxes': 'detection', 'segments': 'segmentation'}
CLASSIFIER, DETECTOR = (str(config_path(f'{name}.py')) for name in ('digits_r2n26', 'demo_faster_rcnn_r2n26_shapes'))


def stand_in(question):
    """Answers as models do, at once."""
    image = read_upload(question.file, Limits())[..., ::-1].copy()
    return Reply(image, f'Found by {question.model}: <1> & {question.score:.2f}.',
                 Map(image, 'Red is where it comes from.', {'Grad-CAM': 5.}) if question.explain else None,
                 dict(preprocessing=1., model=20., drawing=3.))


def write_example(folder, name='shape.png'):
    image = np.full((60, 90, 3), 200, np.uint8)
    cv2.circle(image, (45, 30), 20, (0, 0, 255), -1)
    assert cv2.imwrite(str(folder / name), image)
    return folder / name


# 1. What an upload may be.


def test_an_upload_is_read_as_it_lies_in_front_of_a_person(tmp_path):
    write_turned_image(tmp_path / 'turned.jpg', orientation=6)
    assert read_upload(str(tmp_path / 'turned.jpg'), Limits()).shape == (64, 40, 3)


def test_a_large_upload_is_made_smaller(tmp_path):
    cv2.imwrite(str(tmp_path / 'wide.png'), np.zeros((300, 3 * SIDE, 3), np.uint8))
    assert read_upload(str(tmp_path / 'wide.png'), Limits()).shape == (100, SIDE, 3)


def write_bad_uploads(folder):
    """Files that are no usable image, and what is said of them."""
    write_image_bomb(folder / 'bomb.png', 24_000)
    write_image_bomb(folder / 'large.png', 8000)
    write_example(folder, 'cut.png')
    (folder / 'cut.png').write_bytes((folder / 'cut.png').read_bytes()[:100])
    (folder / 'empty.jpg').touch()
    (folder / 'text.jpg').write_text('this is a text')
    (folder / 'text.gif').write_text('this is a text')
    (folder / 'heavy.jpg').write_bytes(b'\xff\xd8' + bytes(21_000_000))
    return {'bomb.png': 'more than 536,870,912 pixels, and 50 million are the most',
            'large.png': '8000 x 8000 pixels, and 50 million are the most', 'cut.png': 'is cut off or broken',
            'empty.jpg': 'is empty', 'text.jpg': 'is not an image', 'text.gif': 'is not an image',
            'heavy.jpg': 'has 21.0 MB, and 20 MB are the most', 'gone.jpg': 'is no longer here'}


def test_bad_uploads_are_named_and_not_decoded(tmp_path, monkeypatch):
    files = write_bad_uploads(tmp_path)
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: pytest.fail('decoded'))
    for name, message in files.items():
        with pytest.raises(UserError, match=message) as error:
            read_upload(str(tmp_path / name), Limits())
        assert str(error.value).startswith(f"image '{name}' ") and str(tmp_path) not in str(error.value)


def test_an_upload_that_only_the_decoder_finds_broken_is_named(tmp_path):
    whole = write_example(tmp_path).read_bytes()
    start, end = whole.index(b'IDAT') + 4, whole.index(b'IEND') - 8
    (tmp_path / 'broken.png').write_bytes(whole[:start] + bytes(end - start) + whole[end:])
    with pytest.raises(UserError, match=r"^image 'broken\.png' cannot be read"):
        read_upload(str(tmp_path / 'broken.png'), Limits())


def test_what_the_page_says():
    assert error_html("image '<b>.jpg' is empty") == (
        '<div role="alert"><p class="error">Image &#x27;&lt;b&gt;.jpg&#x27; is empty.</p></div>')
    labels, scores = np.array([1, 0, 1]), np.array([.9, .6, .4], np.float32)
    boxes = Prediction('detection', (4, 5), ('disc', 'cross'), labels, scores, np.zeros((3, 4), np.float32))
    assert describe(boxes, 0.5) == 'Found with a score of 0.50 or more: 1 disc, 1 cross.'
    assert describe(boxes, 0.3) == 'Found with a score of 0.30 or more: 1 disc, 2 cross.'
    assert describe(boxes, 0.95) == 'Found with a score of 0.95 or more: nothing.'
    assert describe(Prediction('classification', (4, 5), ('disc', 'cross'), labels[:2], scores[:2]), 0.99) == (
        'Most likely: cross 90.0%, disc 60.0%.')
    segments = np.array([[0, 1], [1, 1]], np.uint8)
    assert describe(Prediction('segmentation', (2, 2), ('disc', 'cross'), segmentation=segments), 0) == (
        'Shares of the image: cross 75.0%, disc 25.0%.')
    saliency = np.array([[0, .2], [.7, 1]], np.float32)
    assert describe(Prediction('saliency', (2, 2), saliency=saliency), 0) == '50% of the image are salient.'


# 2. The process that runs the models. It starts with what Python brings, so that it starts at once.


def test_a_worker_answers_and_survives_errors():
    worker = Worker(partial(tuple, (len, 'told')), 30)
    try:
        assert worker.started == 'told' and worker([1, 2]) == 2
        process = worker._process
        with pytest.raises(UserError, match='^the model failed, and the terminal shows where: TypeError'):
            worker(5)
        assert worker('abc') == 3 and worker._process is process
    finally:
        worker.close()
    assert not process.is_alive()


def test_a_worker_is_stopped_in_time_and_starts_again():
    worker = Worker(partial(tuple, (time.sleep, 'told')), 0.5)
    try:
        process, start = worker._process, time.perf_counter()
        with pytest.raises(UserError, match=r'more than 0\.5 seconds, and was stopped'):
            worker(60)
        assert time.perf_counter() - start < 5 and not process.is_alive()
        assert worker(0) is None
    finally:
        worker.close()


def test_the_end_of_a_worker_is_a_sentence():
    worker = Worker(partial(tuple, (os._exit, 'told')), 30)
    try:
        for _ in range(2):
            with pytest.raises(UserError, match='has ended, as it does when it needs more memory'):
                worker(9)
    finally:
        worker.close()


def test_a_worker_that_cannot_start_says_why():
    with pytest.raises(UserError, match=r"^\[Errno 2\] No such file or directory: '/nowhere'"):
        Worker(partial(open, '/nowhere'), 30)


# 3. The command.


def test_arguments(capsys):
    for argv, message in ((['--checkpoint', 'a.pth'], 'belongs behind its --model'),
                          (['--model', 'm', '--checkpoint', 'a', '--checkpoint', 'b'], 'belongs behind its --model'),
                          (['--seconds', '0'], 'invalid positive value'), (['--megapixels', 'nan'], 'invalid positive'),
                          (['--model', 'no_such'], "model 'no_such'")):
        expect_failure(capsys, app.main, argv, message)


def test_checkpoints_belong_to_the_models_before_them(monkeypatch):
    taken = []
    monkeypatch.setattr(app, 'run_tool', lambda run, args: taken.append(args.model))
    app.main(['--model', 'a', '--model', 'b', '--checkpoint', 'b.pth', '--model', 'c'])
    assert taken == [[('a', None), ('b', 'b.pth'), ('c', None)]]


def test_a_missing_or_old_gradio_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(os, 'environ', dict(os.environ))
    monkeypatch.setitem(sys.modules, 'gradio', None)
    with pytest.raises(UserError, match=r"pip install 'res2net_mm\[app\]'"):
        app.configure_gradio(str(tmp_path))
    monkeypatch.setitem(sys.modules, 'gradio', type('gradio', (), dict(__version__='5.49.1')))
    with pytest.raises(UserError, match=r"5\.49\.1 is installed: pip install 'res2net_mm\[app\]'"):
        app.configure_gradio(str(tmp_path))


def test_addresses_of_this_machine():
    assert all(map(app.is_local, ('127.0.0.1', '127.0.0.2', '::1', 'localhost')))
    assert not any(map(app.is_local, ('0.0.0.0', '::', '192.168.1.5', 'example.org')))


# 4. The page, served by this process, with a stand-in for models.


@pytest.fixture(scope='module')
def served(tmp_path_factory):
    """The page and its address; what it was asked is in ``asked``."""
    pytest.importorskip('gradio')
    uploads, examples = tmp_path_factory.mktemp('uploads'), tmp_path_factory.mktemp('examples')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, 'environ', dict(os.environ))
        app.configure_gradio(str(uploads))
        page = build_page(stand_in, TASKS, Limits(), [write_example(examples, 'one_disc.png')])
        page.address = serve_page(page, '127.0.0.1', int(free_port()), Limits())
        page.uploads = uploads
        yield page
        page.close()


@pytest.fixture(scope='module')
def client(served, tmp_path_factory):
    from gradio_client import Client
    return Client(served.address, verbose=False, analytics_enabled=False,
                  download_files=str(tmp_path_factory.mktemp('downloads')))


def ask(client, file, model='boxes', explain=True):
    """Text, picture and map, as text and files."""
    from gradio_client import handle_file
    text, *pictures = client.predict(handle_file(str(file)), model, 0.5, explain, api_name='/run')
    return text, *(picture and picture['value'] for picture in pictures)


def test_a_result(client, tmp_path):
    text, picture, shown = ask(client, write_example(tmp_path))
    assert 'Found by boxes: &lt;1&gt; &amp; 0.50.' in text and 'role="status"' in text
    assert 'preprocessing 1 ms, model 20 ms, drawing 3 ms' in text and 'Red is where' in text
    sent = cv2.imread(str(tmp_path / 'shape.png'))
    assert (cv2.imread(picture) == sent).all() and (cv2.imread(shown) == sent).all()
    text, picture, shown = ask(client, tmp_path / 'shape.png', 'segments', explain=False)
    assert 'Found by segments' in text and 'Red is' not in text and picture and not shown


def test_bad_uploads_are_sentences(client, tmp_path):
    """They come as an answer: no stack trace, and no picture."""
    for name, message in write_bad_uploads(tmp_path).items():
        if name not in ('heavy.jpg', 'gone.jpg'):
            text, picture, shown = ask(client, tmp_path / name)
            assert 'role="alert"' in text and message in text and not picture and not shown
    text, _, _ = client.predict(None, 'boxes', 0.5, True, api_name='/run')
    assert 'Choose an image first.' in text


def test_a_heavy_upload_is_refused_before_it_is_kept(served):
    import httpx
    answer = httpx.post(f'{served.address}gradio_api/upload', files=dict(files=('heavy.jpg', bytes(21_000_000))))
    assert answer.status_code == 413 and '20000000 bytes' in answer.text
    assert all(file.stat().st_size < 20_000_000 for file in served.uploads.rglob('*') if file.is_file())


def test_nothing_but_uploads_is_read(served, tmp_path, capfd):
    """Neither an address, which gradio would fetch, nor a file of the machine."""
    import httpx
    for path, message in (('https://example.org/image.png', 'this page fetches nothing from other machines'),
                          (str(write_example(tmp_path)), 'InvalidPathError')):
        data = [dict(path=path, meta=dict(_type='gradio.FileData')), 'boxes', 0.5, True]
        event = httpx.post(f'{served.address}gradio_api/call/run', json=dict(data=data)).json()['event_id']
        answer = httpx.get(f'{served.address}gradio_api/call/run/{event}').text
        assert 'event: error' in answer and message in answer + capfd.readouterr().err, answer


def test_a_model_that_is_not_on_the_page(client, tmp_path):
    with pytest.raises(Exception, match='not in the list of choices'):
        ask(client, write_example(tmp_path), model='/etc/passwd')


def test_the_page_has_limits_and_sends_nothing(served):
    config = served.config
    assert not config['analytics_enabled'] and config['stylesheets'] == []
    assert served.delete_cache == (360, 3600) and served.max_file_size == 20_000_000
    asking = [fn for fn in served.fns.values() if len(fn.outputs) == 3]
    assert len(asking) == 2 and all(fn.queue and fn.concurrency_limit == 1 for fn in asking)
    assert {fn.concurrency_id for fn in asking} == {'models'}
    assert not served.share and served.server_name == '127.0.0.1'


# 5. The models.


def write_model(config, folder):
    """A checkpoint of random weights."""
    from mmengine.registry import init_default_scope
    cfg = load_config(config)
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.init_cfg = None
    torch.save(dict(state_dict=random_model(cfg.model).state_dict(), meta={}), folder / f'{Path(config).stem}.pth')
    return config, str(folder / f'{Path(config).stem}.pth')


@pytest.mark.slow
def test_models_answer(tmp_path):
    """Objects, segments and classes with their maps and times; another score is only another drawing."""
    names = list(demo_models())
    if not names:
        pytest.skip('demo/weights has no models')
    file = str(shutil.copy(demo_folder() / 'shapes_1.jpg', tmp_path))
    answer, tasks = LoadModels([(name, None) for name in names], Limits(), 'cpu')()
    assert list(tasks) == names
    for name, task in tasks.items():
        text, method = dict(detection=('Found with a score of 0.30 or more: ', 'HiResCAM'),
                            segmentation=('Shares of the image: ', 'HiResCAM'),
                            classification=('Most likely: ', 'GradCAM'))[task]
        reply, image = answer(Question(name, file, 0.3, True)), read_upload(file, Limits())[..., ::-1]
        assert reply.text.startswith(text) and 'nothing' not in reply.text and f'({method})' in reply.map.text
        assert reply.picture.shape == image.shape and (reply.picture != image).any()
        assert reply.map.picture.ndim == 3 and reply.map.picture.std() > 1
        assert list(reply.times) == ['preprocessing', 'model', 'drawing', 'Grad-CAM'] and min(reply.times.values()) > 0
        again = answer(Question(name, file, 1.1, False))
        assert again.map is None and again.times['model'] == reply.times['model']
        assert task != 'detection' or again.text.endswith('nothing.') and (again.picture == image).all()
    os.utime(file, (0, 0))
    assert answer(Question(name, file, 0.3, False)).times['model'] != reply.times['model']


def test_a_task_without_maps_says_so(tmp_path, monkeypatch):
    from types import SimpleNamespace

    from res2net_mm.cli import app_models
    found = Prediction('keypoints', (60, 90), ('person', ), np.array([0]), np.array([.9], np.float32),
                       keypoints=np.ones((1, 2, 3), np.float32), skeleton=((0, 1), ))
    predictor = SimpleNamespace(task='keypoints')
    analysis = app_models.Analysis(np.zeros((60, 90, 3), np.uint8), found, {})
    monkeypatch.setattr(app_models, 'analyse', lambda *_: analysis)
    answer = app_models.Respondent({'pose': app_models.PageModel(predictor, 'c', 'w')}, Limits(), 'cpu')
    reply = answer(Question('pose', str(write_example(tmp_path)), 0.3, True))
    assert reply.map.picture is None and reply.map.text == 'There is no Grad-CAM of models for keypoints.'
    assert reply.text == 'Found with a score of 0.30 or more: 1 person.'


ONLY_THIS_MACHINE = """
import os, socket
connect, look_up = socket.socket.connect, socket.getaddrinfo

def allow(host):
    if host not in ('127.0.0.1', 'localhost', '::1', None):
        with open(os.environ['NETWORK_LOG'], 'a') as log:
            print(host, file=log)
        raise OSError(f'no network: {host}')

def connect_here(self, address):
    if self.family != socket.AF_UNIX:
        allow(address[0])
    return connect(self, address)

def look_up_here(host, *arguments, **settings):
    allow(host)
    return look_up(host, *arguments, **settings)

socket.socket.connect, socket.getaddrinfo = connect_here, look_up_here
"""


@pytest.fixture(scope='module')
def command(tmp_path_factory):
    """The command, serving models of random weights: the page's address, its process and its temporary folder."""
    pytest.importorskip('gradio')
    folder = tmp_path_factory.mktemp('command')
    models = [write_model(config, folder) for config in (DETECTOR, CLASSIFIER)]
    (folder / 'site').mkdir()
    (folder / 'site' / 'sitecustomize.py').write_text(ONLY_THIS_MACHINE)
    (folder / 'network.log').touch()
    (folder / 'tmp').mkdir()
    env = dict(os.environ, PYTHONPATH=f'{folder / "site"}:{ROOT}', NETWORK_LOG=str(folder / 'network.log'),
               TMPDIR=str(folder / 'tmp'))
    port = free_port()
    argv = [sys.executable, str(TOOLS / 'app.py'), '--port', port, '--device', 'cpu', '--host', '127.0.0.1']
    for model, checkpoint in models:
        argv += ['--model', model, '--checkpoint', checkpoint]
    streams = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with subprocess.Popen(argv, env=env, cwd=folder, **streams) as process:
        try:
            address = next((line.split()[0] for line in process.stdout if line.startswith('http')), None)
            assert address == f'http://127.0.0.1:{port}/', process.stderr.read()
            yield address, process, folder
        finally:
            process.kill()


@pytest.mark.slow
def test_the_command_serves_models_and_leaves_nothing(command, tmp_path):
    from gradio_client import Client
    address, process, folder = command
    client = Client(address, verbose=False, analytics_enabled=False, download_files=str(tmp_path / 'downloads'))
    text, picture, shown = ask(client, write_example(tmp_path), 'digits_r2n26')
    assert 'Most likely' in text and 'Grad-CAM' in text and picture and shown
    uploads, = (folder / 'tmp').glob('res2net_mm_app_*')
    assert any(file.name == 'shape.png' for file in uploads.rglob('*'))
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0 and 'Traceback' not in process.stderr.read()
    assert not uploads.exists()
    assert not (folder / 'network.log').read_text()


# 6. The page in a browser.


@contextmanager
def chromium(address, **context):
    """The page in headless Chromium, with all that it requests and the errors of its console."""
    playwright = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
    if not Path(CHROMIUM).is_file():
        pytest.skip(f'{CHROMIUM} is missing')
    with playwright.sync_playwright() as player:
        browser = player.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        page = browser.new_context(**context).new_page()
        page.requests, page.errors = [], []
        page.on('request', lambda request: page.requests.append(request.url))
        page.on('console', lambda message: page.errors.append(message.text) if message.type == 'error' else None)
        page.on('pageerror', lambda error: page.errors.append(str(error)))
        page.goto(address)
        page.run = page.get_by_role('button', name='Run', exact=True)
        page.run.wait_for()
        yield page
        browser.close()


def upload(page, file):
    page.locator('input[type=file]').first.set_input_files(file)
    page.get_by_alt_text('The image that you have chosen').wait_for()


PHONE, DESKTOP = dict(width=390, height=844), dict(width=1280, height=900)


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize(('viewport', 'scheme'), [(DESKTOP, 'light'), (PHONE, 'dark')], ids=['desktop', 'phone'])
def test_a_result_in_a_browser(served, tmp_path, viewport, scheme):
    with chromium(served.address, viewport=viewport, color_scheme=scheme) as page:
        upload(page, write_example(tmp_path))
        listed = page.get_by_label('Model')
        listed.click()
        options = [text.split('\n')[-1] for text in page.get_by_role('option').all_inner_texts()]  # without a tick
        assert options == ['boxes', 'more boxes']
        listed.press('Escape')
        page.get_by_label('segmentation').check()
        page.run.click()
        page.get_by_role('status').get_by_text('Found by segments: <1> & 0.30.').wait_for()
        page.get_by_alt_text('Found by segments: <1> & 0.30.').wait_for()
        page.get_by_alt_text('Red is where it comes from.').wait_for()
        page.get_by_role('slider', name='Least score').press('ArrowRight')
        page.get_by_role('status').get_by_text('Found by segments: <1> & 0.31.').wait_for()
        assert page.evaluate('document.documentElement.scrollWidth') <= viewport['width']
        assert page.evaluate("document.body.classList.contains('dark')") == (scheme == 'dark')
        elsewhere = [url for url in page.requests if not url.startswith((served.address, 'data:', 'blob:'))]
        assert len(page.requests) > 20 and not elsewhere and not page.errors


@pytest.mark.slow
@pytest.mark.browser
def test_a_bad_upload_in_a_browser(served, tmp_path):
    (tmp_path / 'text.jpg').write_text('this is a text')
    (tmp_path / 'heavy.jpg').write_bytes(bytes(21_000_000))
    with chromium(served.address, viewport=DESKTOP) as page:
        page.locator('input[type=file]').first.set_input_files(tmp_path / 'heavy.jpg')
        page.get_by_text('maximum allowed size').or_(page.get_by_text('exceeds')).first.wait_for()
        page.reload()
        page.run.wait_for()
        page.run.click()
        page.get_by_role('alert').get_by_text('Choose an image first.').wait_for()
        upload(page, tmp_path / 'text.jpg')
        page.run.click()
        page.get_by_role('alert').get_by_text("Image 'text.jpg' is not an image: it starts with").wait_for()
        assert 'Traceback' not in page.inner_text('body')


@pytest.mark.slow
@pytest.mark.browser
def test_the_page_is_used_without_a_mouse(served):
    """An example is chosen and run by the keyboard alone, and every control on the way has a name."""
    with chromium(served.address, viewport=DESKTOP) as page:
        reached = []
        for _ in range(20):
            page.keyboard.press('Tab')
            reached.append(page.evaluate("""() => {
                const focused = document.activeElement
                return focused.ariaLabel || focused.innerText || focused.labels?.[0]?.innerText || ''}""").strip())
            if reached[-1] == 'Example: one disc':
                page.keyboard.press('Enter')
                page.get_by_alt_text('The image that you have chosen').wait_for()
            if reached[-1] == 'Run':
                page.keyboard.press('Enter')
                break
        page.get_by_role('status').get_by_text('Found by boxes').wait_for()
        order = [name for name in ('Example: one disc', 'detection', 'Model', 'Run')
                 if name in reached]
        assert order == ['Example: one disc', 'detection', 'Model', 'Run'] and all(reached), reached
