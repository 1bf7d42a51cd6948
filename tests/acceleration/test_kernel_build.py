"""Compiling C++: one folder for what they depend on, one process at a time, and nothing that waits for ever."""
import signal
import subprocess
import sys
import threading

import pytest

from res2net_mm.acceleration import kernel_build
from res2net_mm.acceleration.kernel_build import build, build_folder


def test_one_folder_for_a_cpu_a_compiler_and_a_pytorch(monkeypatch, tmp_path):
    """``-march=native`` on another machine with the same home directory would be an illegal instruction, or worse."""
    monkeypatch.setenv('TORCH_EXTENSIONS_DIR', str(tmp_path))
    source, header = tmp_path / 'kernels.cpp', tmp_path / 'kernels.h'
    source.write_text('int x;')
    header.write_text('int y;')

    def folder(name='kernels', flags=('-O3', )):
        return build_folder(name, [source, header], flags)

    folders = {folder()}
    assert folders == {folder()} and next(iter(folders)).parent == tmp_path
    for name, value in (('cpu_features', lambda: 'flags: fpu avx'), ('compiler_version', lambda: 'c++ 1.0')):
        with monkeypatch.context() as patch:
            patch.setattr(kernel_build, name, value)
            folders.add(folder())
    folders |= {folder(name='others'), folder(flags=('-O0', ))}
    header.write_text('int z;')
    folders.add(folder())
    monkeypatch.setattr(kernel_build.torch, '__version__', '0.1')
    folders.add(folder())
    assert len(folders) == 7


def test_what_the_machine_is():
    assert 'flags' in kernel_build.cpu_features() or 'Features' in kernel_build.cpu_features()
    assert kernel_build.compiler_version()


def test_no_compiler(monkeypatch):
    monkeypatch.setenv('CXX', '/no/compiler')
    assert kernel_build.compiler_version() == '/no/compiler'


@pytest.fixture
def loads(monkeypatch):
    """What is loaded instead of being compiled: names, and whether PyTorch's lock lies in the way."""
    from torch.utils import cpp_extension
    seen = []
    monkeypatch.setattr(cpp_extension, 'load', lambda name, *args, build_directory, **options: seen.append(
        (name, (kernel_build.Path(build_directory) / 'lock').exists())))
    return seen


def test_a_lock_that_a_killed_process_has_left(loads, tmp_path):
    """PyTorch's own lock is a file, for which all later processes would wait."""
    (tmp_path / 'lock').touch()
    build(tmp_path, tmp_path / 'x.cpp', [])
    assert loads == [(tmp_path.name, False)]


def test_another_process_that_is_killed(loads, tmp_path, monkeypatch):
    """While it compiles we wait, and say so; when it is gone so is its lock."""
    messages = []
    monkeypatch.setattr(kernel_build, 'print_log', lambda message, **options: messages.append(message))
    code = ('import sys, time, filelock; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); '
            "print('held', flush=True); time.sleep(60)")
    other = subprocess.Popen([sys.executable, '-c', code, str(tmp_path / 'compiling.lock')], stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline() == b'held\n'
        waiting = threading.Thread(target=build, args=(tmp_path, tmp_path / 'x.cpp', []), daemon=True)
        waiting.start()
        waiting.join(2)
        assert waiting.is_alive() and not loads
        assert len(messages) == 1 and str(tmp_path) in messages[0]
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait()
    waiting.join(10)
    assert loads == [(tmp_path.name, False)]
