"""What becomes of the processes of a distributed run when one of them, or their launcher, is killed."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import TOOLS, free_port, python_path
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
        env = {**os.environ, 'PORT': free_port(), 'OMP_NUM_THREADS': '1', 'PYTHONPATH': python_path(TOOLS.parent),
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
    """Both processes end, also the one that waits for the other.

    The first that sees it says so. The other does, too, unless gloo tells it before that the first is gone.
    """
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
    assert f'train.py: error: the launcher (process {launcher.pid}) is gone, so that process' in said


@pytest.mark.soak
def test_a_process_is_killed(launch, tmp_path):
    """The command fails and the other process, which would sleep, ends; without MAX_RESTARTS there is one attempt."""
    launcher = launch('--kill-until', '9', '--wait')
    assert launcher.wait(60) == 1
    assert sorted(path.name for path in tmp_path.glob('met_*')) == ['met_0_0', 'met_0_1']


@pytest.mark.soak
@pytest.mark.parametrize('killed, code, attempts', [(1, 0, 2), (9, 1, 2)])
def test_max_restarts(killed, code, attempts, launch, tmp_path):
    """All processes are started again and meet; one kill too many ends the run."""
    launcher = launch('--kill-until', str(killed), MAX_RESTARTS='1')
    assert launcher.wait(120) == code
    met = {path.name: path.read_text() for path in tmp_path.glob('met_*')}
    assert met == {f'met_{attempt}_{rank}': f'3 {attempt > 0}' for attempt in range(attempts) for rank in (0, 1)}


# The scripts, with a srun and a python that print their arguments.


@pytest.fixture
def given(tmp_path, monkeypatch):
    """Run a script; returns the arguments that it gives to srun or python."""
    for name in ('srun', 'python'):
        fake = tmp_path / 'bin' / name
        fake.parent.mkdir(exist_ok=True)
        fake.write_text(f'#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n')
        fake.chmod(0o755)
    monkeypatch.setenv('PATH', f'{fake.parent}:{os.environ["PATH"]}')
    for name in ('GPUS', 'GPUS_PER_NODE', 'CPUS_PER_TASK', 'SRUN_ARGS', 'PY_ARGS', 'NNODES', 'NODE_RANK',
                 'MASTER_ADDR', 'PORT', 'MAX_RESTARTS'):
        monkeypatch.delenv(name, raising=False)

    def run(script, *arguments, **variables):
        said = subprocess.run([TOOLS / script, *arguments], env={**os.environ, **variables}, capture_output=True,
                              text=True, check=True)
        return json.loads(said.stdout)

    return run


def test_torchrun(given):
    """torchrun's static way to meet knows the machines' ranks, but not how to meet again."""
    command = [str(TOOLS / 'train.py'), 'c.py', '--launcher', 'pytorch', '--resume']
    once = given('dist_train.sh', 'c.py', '2', '--resume', NNODES='2', NODE_RANK='1', MASTER_ADDR='a', PORT='9')
    assert once == ['-m', 'torch.distributed.run', '--nnodes=2', '--nproc_per_node=2', '--node_rank=1',
                    '--master_addr=a', '--master_port=9', *command]
    again = given('dist_train.sh', 'c.py', '2', '--resume', MAX_RESTARTS='3')
    assert again == ['-m', 'torch.distributed.run', '--nnodes=1', '--nproc_per_node=2', '--max_restarts=3',
                     '--rdzv_backend=c10d', '--rdzv_endpoint=127.0.0.1:29500', '--rdzv_id=29500',
                     '--local_addr=127.0.0.1', *command]


def test_slurm_train(given):
    words = given('slurm_train.sh', 'gpu', 'a job', 'c.py', 'my runs/1', '--amp')
    assert words == ['--partition=gpu', '--job-name=a job', '--gres=gpu:8', '--ntasks=8', '--ntasks-per-node=8',
                     '--cpus-per-task=5', '--kill-on-bad-exit=1', 'python', '-u', str(TOOLS / 'train.py'), 'c.py',
                     '--work-dir=my runs/1', '--amp', '--launcher', 'slurm']


def test_slurm_variables(given):
    words = given('slurm_train.sh', 'gpu', 'job', 'c.py', 'runs', GPUS='16', GPUS_PER_NODE='4', CPUS_PER_TASK='2',
                 SRUN_ARGS='--time=9 --exclude=a', PY_ARGS='--resume --amp')
    assert words[2:9] == ['--gres=gpu:4', '--ntasks=16', '--ntasks-per-node=4', '--cpus-per-task=2',
                          '--kill-on-bad-exit=1', '--time=9', '--exclude=a']
    assert words[-4:] == ['--resume', '--amp', '--launcher', 'slurm']


@pytest.mark.parametrize('device', [['--device', 'cpu'], ['--device=cpu']])
def test_slurm_on_cpus(device, given):
    """No GPU is asked for; there are no more tasks on a machine than tasks."""
    words = given('slurm_test.sh', 'cpu', 'job', 'c.py', 'a b.pth', *device, GPUS='2')
    assert words[2:4] == ['--ntasks=2', '--ntasks-per-node=2'] and not [word for word in words if 'gres' in word]
    assert words[words.index('-u') + 1:] == [str(TOOLS / 'test.py'), 'c.py', 'a b.pth', *device, '--launcher', 'slurm']
    assert '--gres=gpu:2' in given('slurm_test.sh', 'gpu', 'job', 'c.py', 'a.pth', '--device', 'cuda', GPUS='2')


@pytest.mark.parametrize('script', ['slurm_train.sh', 'slurm_test.sh', 'dist_train.sh', 'dist_test.sh'])
def test_usage(script):
    result = subprocess.run([TOOLS / script, 'one'], capture_output=True, text=True)
    assert result.returncode == 1 and f'usage: tools/{script} ' in result.stderr
