"""Trainings as processes: to start them, to see what they do with their files, and to kill them at that moment."""
import contextlib
import ctypes
import multiprocessing
import os
import random
import re
import select
import signal
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from helpers import TOOLS, free_port, python_path

# Moments to kill at: what inotify reports of which file, or a line of the log.
CREATED, WRITTEN, MOVED, DELETED, CHANGED = 0x100, 0x8, 0x80, 0x200, 0x2
NUMBERED, BEST, POINTER = r'^\.?(epoch|iter)_\d+\.pth', r'^\.?best_.*\.pth', r'^\.?last_checkpoint'
MOMENTS = {
    'checkpoint begun': (CREATED, NUMBERED), 'checkpoint written': (WRITTEN, NUMBERED),
    'checkpoint named': (MOVED, NUMBERED), 'outdated deleted': (DELETED, NUMBERED + '$'),
    'best begun': (CREATED, BEST), 'best written': (WRITTEN, BEST), 'best named': (MOVED, BEST),
    'best deleted': (DELETED, BEST + '$'), 'pointer begun': (CREATED, POINTER), 'pointer written': (WRITTEN, POINTER),
    'pointer named': (MOVED, POINTER),
    'step': (CHANGED, r'(Epoch|Iter)\(train\)'), 'validation': (CHANGED, r'(Epoch|Iter)\(val\)')}


@dataclass
class Kill:
    """When and whom to kill.

    Attributes:
        moment (str): A key of MOMENTS.
        count (int): At the how-manieth of them since the process was started. Defaults to 1.
        victims (str): 'all', the 'launcher' alone, or one 'rank' alone. Defaults to 'all'.
    """

    moment: str
    count: int = 1
    victims: str = 'all'

    @property
    def in_save(self):
        return self.moment not in ('step', 'validation')


class Command:
    """A training as a user starts it; on the CPU, with one thread for each process."""

    def __init__(self, folder, arguments, processes, log):
        env = {**os.environ, 'PORT': free_port(), 'OMP_NUM_THREADS': '1', 'PYTHONPATH': python_path(TOOLS.parent),
               'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}'}
        command = [TOOLS / 'dist_train.sh', 'tiny.py', str(processes)] if processes > 1 else [
            sys.executable, TOOLS / 'train.py', 'tiny.py']
        with open(log, 'wb') as file:
            self.process = subprocess.Popen([*command, *arguments], cwd=folder, env=env, stdout=file, stderr=file,
                                            start_new_session=True)
        self.pid, self.poll = self.process.pid, self.process.poll


class WarmCommand:
    """The same of one process, forked from a server that has imported the toolbox: seconds less."""

    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['mmpretrain.models', 'mmpretrain.datasets', 'mmpretrain.evaluation',
                                    'mmpretrain.engine', 'res2net_mm.models', 'res2net_mm.cli.train'])

    def __init__(self, folder, arguments, processes, log):
        assert processes == 1
        self.process = self.context.Process(target=run_in_fork, args=(str(folder), ['tiny.py', *arguments], str(log)))
        self.process.start()
        self.pid = self.process.pid

    def poll(self):
        return self.process.exitcode


def run_in_fork(folder, arguments, log):
    """What ``tools/train.py`` does, in a session and a folder of its own."""
    import torch

    from res2net_mm.cli import train
    assert Path(train.__file__).parents[2] == TOOLS.parent  # a server imports what its working directory has, first
    os.setsid()
    os.chdir(folder)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    torch.set_num_threads(1)
    train.main(arguments)


def alive(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False


def children(pid):
    """The processes that the main thread of a process has started."""
    try:
        return [int(child) for child in Path(f'/proc/{pid}/task/{pid}/children').read_text().split()]
    except OSError:
        return []


def descendants(pid):
    """The processes that a process has started, and those that they have."""
    found = [pid]
    for one in found:  # which grows
        found += children(one)
    return found[1:]


def kill_processes(pid, victims):
    """Kill with -9; returns the processes that were there."""
    everybody = [pid, *descendants(pid)]  # quick, for a save takes a few milliseconds
    for victim in {'all': everybody, 'launcher': [pid], 'rank': children(pid)[-1:]}[victims]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
    return everybody


class Watch:
    """What happens to the files of a folder and to a log, as they happen."""

    def __init__(self, folder, log):
        self.path = folder
        libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = libc.inotify_init1(os.O_NONBLOCK)
        masks = CREATED | WRITTEN | MOVED | DELETED
        self.folder = libc.inotify_add_watch(self.descriptor, os.fsencode(folder), masks)
        self.log = libc.inotify_add_watch(self.descriptor, os.fsencode(log), CHANGED)
        if min(self.descriptor, self.folder, self.log) < 0:
            raise OSError(ctypes.get_errno(), 'inotify')
        self.lines = open(log, errors='replace')  # noqa: SIM115

    def wait(self, timeout):
        """Yield (kind, text): CREATED and the like with the name of a file, or CHANGED with a new line of the log."""
        if not select.select([self.descriptor], [], [], timeout)[0]:
            return
        buffer, at = os.read(self.descriptor, 65536), 0
        while at < len(buffer):
            watch, kind, _, length = struct.unpack_from('iIII', buffer, at)
            name = buffer[at + 16:at + 16 + length].rstrip(b'\0').decode()
            at += 16 + length
            if watch == self.folder:
                yield kind & 0xfff, name
            else:
                yield from ((CHANGED, line) for line in self.lines)

    def close(self):
        os.close(self.descriptor)
        self.lines.close()


def live(watch, process, kill=None):
    """Wait until the process ends, or kill it.

    Args:
        watch (Watch): What it does.
        process (Command | WarmCommand): The process.
        kill (Kill | None): When to kill it. Defaults to None: never.

    Returns:
        tuple: Whether it was killed; the last checkpoint that it had saved, a number or 0; the processes that were
        there still 15 seconds after the kill.
    """
    killed, saved = wait_for(watch, process, kill)
    return killed, saved, outlived(kill_processes(process.pid, kill.victims), process) if killed else []


def wait_for(watch, process, kill=None, timeout=300):
    """Wait until the moment of a kill, or the end; returns whether it has come, and the last saved checkpoint."""
    mask, pattern = MOMENTS[kill.moment] if kill else (0, '')
    seen, saved, end = 0, 0, time.monotonic() + timeout
    while process.poll() is None:
        assert time.monotonic() < end, f'no end, and no {kill}'
        for kind, text in watch.wait(0.2):
            if kind & (MOVED | WRITTEN) and text == 'last_checkpoint':
                saved = named_checkpoint(watch.path)
            seen += bool(kind & mask and re.search(pattern, text))
            if kill and seen >= kill.count:
                if kind == CHANGED:
                    time.sleep(random.uniform(0, 0.03))
                return True, saved
    return False, saved


def named_checkpoint(work_dir):
    """The number of the checkpoint that ``last_checkpoint`` names; 0 if there is none."""
    pointer = work_dir / 'last_checkpoint'
    number = re.search(r'(\d+)\.pth$', pointer.read_text()) if pointer.exists() else None
    return int(number[1]) if number else 0


def outlived(processes, process):
    """Those that are still there after 15 seconds; they are killed then, so that the next life is alone."""
    end = time.monotonic() + 15
    while process.poll() is None or any(map(alive, processes)):
        if time.monotonic() > end:
            break
        time.sleep(0.02)
    left = [pid for pid in processes if alive(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    return left
