"""What becomes of the processes of a distributed run when one of them, or their launcher, is killed."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import TOOLS, free_port
from killing import alive, descendants

pytestmark = [pytest.mark.distributed,
              pytest.mark.skipif(sys.platform != 'linux', reason='/proc is of Linux')]

# A command of two processes that meet as tools/train.py does, do what a test asks for, and wait for each other.
SCRIPT = """
import os, signal, sys, time
from mmengine.config import Config
from res2net_mm.cli.launch import join_processes, restarted
import torch
import torch.distributed as dist

join_processes(Config(dict(launcher='pytorch')))
attempt, rank = int(os.environ['TORCHELASTIC_RESTART_COUNT']), dist.get_rank()
total = torch.tensor(rank + 1)
dist.all_reduce(total)
with open(f'met_{attempt}_{rank}', 'w') as file:
    file.write(f'{total.item()} {restarted()}')
if rank == 1 and attempt < int(sys.argv[sys.argv.index('--kill-until') + 1]):
    os.kill(os.getpid(), signal.SIGKILL)
if '--wait' in sys.argv and rank == 0:
    time.sleep(60)
dist.barrier()  # where the other waits, in C++
"""


@pytest.fixture
def launch(tmp_path):
    """Start tools/dist_train.sh on SCRIPT instead of tools/train.py, in two processes."""
    shutil.copy(TOOLS / 'dist_train.sh', tmp_path)
    (tmp_path / 'train.py').write_text(SCRIPT)
    started = []

    def start(*arguments, **variables):
        env = {**os.environ, 'PORT': free_port(), 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(TOOLS.parent),
               'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}', **variables}
        with open(tmp_path / 'log', 'w') as log:
            started.append(subprocess.Popen([tmp_path / 'dist_train.sh', 'config.py', '2', *arguments], cwd=tmp_path,
                                            env=env, stdout=log, stderr=log))
        return started[-1]

    yield start
    for process in started:
        for pid in [*descendants(process.pid), process.pid]:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_the_launcher_is_killed(launch, tmp_path):
    """Both processes end, also the one that waits for the other."""
    launcher = launch('--kill-until', '0', '--wait')
    wait_until(lambda: (tmp_path / 'met_0_0').exists() and (tmp_path / 'met_0_1').exists())
    ranks = descendants(launcher.pid)
    assert len(ranks) == 2
    launcher.kill()
    launcher.wait()
    try:
        wait_until(lambda: not any(map(alive, ranks)), 5)
    finally:
        for rank in filter(alive, ranks):
            os.kill(rank, signal.SIGKILL)
    said = (tmp_path / 'log').read_text()
    assert len(re.findall(rf'train.py: error: the launcher \(process {launcher.pid}\) is gone', said)) == 2


@pytest.mark.slow
def test_a_process_is_killed(launch, tmp_path):
    """The command fails and the other process, which would sleep, ends; without MAX_RESTARTS there is one attempt."""
    launcher = launch('--kill-until', '9', '--wait')
    assert launcher.wait(60) == 1
    assert sorted(path.name for path in tmp_path.glob('met_*')) == ['met_0_0', 'met_0_1']


@pytest.mark.slow
@pytest.mark.parametrize('killed, code, attempts', [(1, 0, 2), (9, 1, 2)])
def test_max_restarts(killed, code, attempts, launch, tmp_path):
    """All processes are started again and meet, at the same port; one kill too many ends the run."""
    launcher = launch('--kill-until', str(killed), MAX_RESTARTS='1')
    assert launcher.wait(120) == code
    met = {path.name: path.read_text() for path in tmp_path.glob('met_*')}
    assert met == {f'met_{attempt}_{rank}': f'3 {attempt > 0}' for attempt in range(attempts) for rank in (0, 1)}


# Slurm's scripts, with an srun that writes its arguments down.


@pytest.fixture
def srun(tmp_path, monkeypatch):
    """Run a script; returns the arguments that srun was given."""
    fake = tmp_path / 'bin' / 'srun'
    fake.parent.mkdir()
    fake.write_text(f'#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n')
    fake.chmod(0o755)
    monkeypatch.setenv('PATH', f'{fake.parent}:{os.environ["PATH"]}')
    for name in ('GPUS', 'GPUS_PER_NODE', 'CPUS_PER_TASK', 'SRUN_ARGS', 'PY_ARGS'):
        monkeypatch.delenv(name, raising=False)

    def run(script, *arguments, **variables):
        said = subprocess.run([TOOLS / script, *arguments], env={**os.environ, **variables}, capture_output=True,
                              text=True, check=True)
        return json.loads(said.stdout)

    return run


def test_slurm_train(srun):
    given = srun('slurm_train.sh', 'gpu', 'a job', 'c.py', 'my runs/1', '--amp')
    assert given == ['--partition=gpu', '--job-name=a job', '--gres=gpu:8', '--ntasks=8', '--ntasks-per-node=8',
                     '--cpus-per-task=5', '--kill-on-bad-exit=1', 'python', '-u', str(TOOLS / 'train.py'), 'c.py',
                     '--work-dir=my runs/1', '--amp', '--launcher', 'slurm']


def test_slurm_variables(srun):
    given = srun('slurm_train.sh', 'gpu', 'job', 'c.py', 'runs', GPUS='16', GPUS_PER_NODE='4', CPUS_PER_TASK='2',
                 SRUN_ARGS='--time=9 --exclude=a', PY_ARGS='--resume --amp')
    assert given[2:9] == ['--gres=gpu:4', '--ntasks=16', '--ntasks-per-node=4', '--cpus-per-task=2',
                          '--kill-on-bad-exit=1', '--time=9', '--exclude=a']
    assert given[-4:] == ['--resume', '--amp', '--launcher', 'slurm']


@pytest.mark.parametrize('device', [['--device', 'cpu'], ['--device=cpu']])
def test_slurm_on_cpus(device, srun):
    """No GPU is asked for; there are no more tasks on a machine than tasks."""
    given = srun('slurm_test.sh', 'cpu', 'job', 'c.py', 'a b.pth', *device, GPUS='2')
    assert given[2:4] == ['--ntasks=2', '--ntasks-per-node=2'] and not [word for word in given if 'gres' in word]
    assert given[given.index('-u') + 1:] == [str(TOOLS / 'test.py'), 'c.py', 'a b.pth', *device, '--launcher', 'slurm']
    assert '--gres=gpu:2' in srun('slurm_test.sh', 'gpu', 'job', 'c.py', 'a.pth', '--device', 'cuda', GPUS='2')


@pytest.mark.parametrize('script', ['slurm_train.sh', 'slurm_test.sh', 'dist_train.sh', 'dist_test.sh'])
def test_usage(script):
    result = subprocess.run([TOOLS / script, 'one'], capture_output=True, text=True)
    assert result.returncode == 1 and f'usage: tools/{script} ' in result.stderr
