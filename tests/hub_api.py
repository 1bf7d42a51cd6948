"""A stand-in for the Hugging Face hub on this machine: what huggingface_hub calls to push a folder, and the files."""
import base64
import hashlib
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

TOKEN = 'hf_of_the_tests'


class Hub(BaseHTTPRequestHandler):
    """Repositories are in ``server.repositories``, {name: dict(private, files={path: bytes})}.

    ``server.faults`` has statuses to answer with by the end of a path, or 'cut' or 'stall'; ``server.asked`` has what
    was asked.
    """

    protocol_version = 'HTTP/1.1'

    def log_message(self, *_):
        pass

    def answer(self, content, status=200):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(content)

    def handle_request(self):
        path = self.path.partition('?')[0]
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        self.server.asked.append(f'{self.command} {path}')
        fault = next((fault for end, fault in self.server.faults.items() if path.endswith(end)), None)
        if fault in ('cut', 'stall'):
            self.server.stopped.wait(30 if fault == 'stall' else 0)
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        is_public = self.command in ('GET', 'HEAD') or path.startswith('/storage/')
        if fault is None and not is_public and self.headers.get('Authorization') != f'Bearer {TOKEN}':
            fault = 401
        if fault:
            self.answer(dict(error=f'the stand-in says {fault}'), fault)
        else:
            self.route(path, body)

    do_GET = do_HEAD = do_POST = do_PUT = handle_request  # noqa: N815

    def route(self, path, body):
        repositories = self.server.repositories
        if path == '/api/repos/create':
            asked = json.loads(body)
            name = f'{asked["organization"]}/{asked["name"]}'
            made = name not in repositories
            repositories.setdefault(name, dict(private=asked.get('visibility') == 'private', files={}))
            self.answer(dict(url=f'{self.server.url}/{name}', name=name), 200 if made else 409)
        elif path == '/api/validate-yaml':
            self.answer(dict(errors=[], warnings=[]))
        elif path.startswith('/storage/'):
            self.server.stored[path.rpartition('/')[2]] = body
            self.answer({})
        elif path.endswith('/info/lfs/objects/batch'):
            self.answer(dict(transfer='basic', objects=[dict(one, actions=dict(upload=dict(
                href=f'{self.server.url}/storage/{one["oid"]}'))) for one in json.loads(body)['objects']]))
        elif '/preupload/' in path:
            self.answer(dict(files=[dict(
                path=one['path'], shouldIgnore=False, uploadMode='regular' if one['size'] < 1 << 17 else 'lfs')
                for one in json.loads(body)['files']]))
        elif '/commit/' in path:
            self.commit(path.split('/api/models/')[1].rpartition('/commit/')[0], body)
        elif path.startswith('/api/models/'):
            name = '/'.join(path.split('/')[3:5])
            self.answer(dict(id=name, private=repositories.get(name, {}).get('private'), tags=[], siblings=[]),
                        200 if name in repositories else 404)
        else:
            name, _, file = path[1:].partition('/resolve/main/')
            files = repositories.get(name, dict(files={}))['files']
            self.answer(files.get(file, b'no such file'), 200 if file in files else 404)

    def commit(self, name, body):
        repository = self.server.repositories[name]
        for line in map(json.loads, body.splitlines()):
            value = line['value']
            if line['key'] == 'file':
                assert value['encoding'] == 'base64'
                repository['files'][value['path']] = base64.b64decode(value['content'])
            elif line['key'] == 'lfsFile':
                content = self.server.stored[value['oid']]
                assert hashlib.sha256(content).hexdigest() == value['oid']
                repository['files'][value['path']] = content
        self.answer(dict(success=True, commitOid='0' * 40, commitUrl=f'{self.server.url}/{name}/commit/{"0" * 40}'))


@pytest.fixture
def hub(monkeypatch):
    """A hub, and a huggingface_hub that knows no other, has a token and uploads by plain HTTP."""
    constants = pytest.importorskip('huggingface_hub.constants')
    server = ThreadingHTTPServer(('127.0.0.1', 0), Hub)
    server.url = f'http://127.0.0.1:{server.server_port}'
    server.repositories, server.stored, server.faults, server.asked = {}, {}, {}, []
    server.stopped = threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # The variables HF_ENDPOINT and HF_HUB_DISABLE_XET are read when huggingface_hub is imported.
    monkeypatch.setattr(constants, 'ENDPOINT', server.url)
    monkeypatch.setattr(constants, 'HF_HUB_DISABLE_XET', True)
    monkeypatch.setenv('HF_TOKEN', TOKEN)
    monkeypatch.setattr('huggingface_hub.utils._http.time.sleep', lambda seconds: None)  # between its attempts
    yield server
    server.stopped.set()
    server.shutdown()
    server.server_close()
