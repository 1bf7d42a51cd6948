"""A training that is killed, or that runs out of disk, loses nothing."""
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
from campaign import SCENARIOS, Scenario, differences, look, run, run_scenario, run_unbroken, start
from killing import Command, Kill, WarmCommand, children, live, wait_for

pytest.importorskip('mmpretrain')
pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='inotify and /proc are of Linux')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Where the short runs share the one without a break."""
    return tmp_path_factory.mktemp('short')


@pytest.mark.slow
def test_three_kills(folder):
    """In a validation, inside a save and at a step: the run ends as one without a break."""
    kills = [Kill('validation'), Kill('checkpoint begun', 2), Kill('step', 3)]
    rows = []
    faults = run_scenario(Scenario('short', kills, length=3), folder, WarmCommand, rows.append)
    assert not faults, '\n'.join(faults)
    assert [row['killed'] for row in rows] == [True] * 3 + [False] and rows[1]['inside_save']


@pytest.mark.soak
@pytest.mark.parametrize('scenario', SCENARIOS, ids=lambda scenario: scenario.name)
def test_campaign(scenario, tmp_path):
    """The whole of tests/reliability/campaign.py, by the commands that users start."""
    rows = []
    faults = run_scenario(scenario, tmp_path, Command, rows.append)
    assert not faults, '\n'.join(faults)
    assert sum(row['killed'] for row in rows) == len(scenario.kills)


@pytest.mark.soak
def test_restart(tmp_path, monkeypatch):
    """After one of two processes was killed, torchrun starts both again, and they go on from the last save."""
    scenario = Scenario('restart', [], processes=2, length=5)
    assert run_unbroken(scenario, tmp_path, Command)[0] == 0
    monkeypatch.setenv('MAX_RESTARTS', '1')
    watch, process = start(scenario, tmp_path, 'restarted', tmp_path / 'log', False, Command)
    assert wait_for(watch, process, Kill('pointer named', 3))[0]
    os.kill(children(process.pid)[-1], signal.SIGKILL)
    live(watch, process)
    watch.close()
    said = (tmp_path / 'log').read_text()
    assert process.poll() == 0 and re.search(r'resumed epoch: [23],', said), said[-2000:]
    assert not differences(tmp_path / 'unbroken', tmp_path / 'restarted')


def test_campaign_is_large():
    """40 kills, at least 20 of them inside saves, and some of two processes."""
    kills = [kill for scenario in SCENARIOS for kill in scenario.kills]
    assert len(kills) == 40 and sum(kill.in_save for kill in kills) >= 24
    assert {scenario.processes for scenario in SCENARIOS} == {1, 2}


@contextmanager
def small_disk(folder, size):
    """A file system of so many KiB in memory; yields what changes its size."""
    def mount(options):
        return subprocess.run(['mount', '-t', 'tmpfs', '-o', options, 'tmpfs', str(folder)], capture_output=True)

    folder.mkdir()
    if sys.platform != 'linux' or mount(f'size={size}k').returncode:
        pytest.skip('needs the right to mount a tmpfs')
    try:
        yield lambda size: mount(f'remount,size={size}k').check_returncode()
    finally:
        subprocess.run(['umount', '--lazy', str(folder)], check=True)


@pytest.mark.slow
def test_full_disk(folder):
    """The message names the file and what is missing, the last checkpoint stays, and with more room the run goes on."""
    scenario = Scenario('short', [], length=3)
    run_unbroken(scenario, folder, WarmCommand)
    size = (folder / 'unbroken' / 'epoch_3.pth').stat().st_size // 1024
    with small_disk(folder / 'full', size * 5 // 4) as resize:  # for one, and no best one
        code, said = run(scenario, folder, 'full', WarmCommand)
        assert code == 1 and 'Traceback' not in said
        assert re.search(r"error: .*'\S+\.pth' was not written: it takes [\d.]+ MiB, and its disk has "
                         r'[\d.]+ MiB free; [\d.]+ MiB are missing', said), said[-2000:]
        files = look(folder / 'full')
        assert len(files['whole']) == 1 and not files['broken'] + files['unfinished']
        resize(size * 10)
        code, said = run(scenario, folder, 'full', WarmCommand, resume=True)
        assert code == 0 and f"resumed epoch: {files['whole'][0]}," in said
        assert not differences(folder / 'unbroken', folder / 'full')
