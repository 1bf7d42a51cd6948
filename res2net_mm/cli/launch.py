"""The processes of a distributed run: how they meet, that they were started again, and that none outlives its launcher.

torchrun (``tools/dist_train.sh``), Slurm's srun (``tools/slurm_train.sh``) and Open MPI's mpirun start one process for
each GPU, or on the CPU as many as one asks for, and tell each by environment variables which of them it is.
"""
from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from mmengine.config import Config

from ..utils.errors import UserError

# Of a launcher: the variables of a process's rank, of the number of processes, and of the rank on this machine.
VARIABLES = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}
STARTS = {'pytorch': 'tools/dist_train.sh', 'slurm': 'tools/slurm_train.sh', 'mpi': 'mpirun of Open MPI'}
RESTART_COUNTS = ('TORCHELASTIC_RESTART_COUNT', 'SLURM_RESTART_COUNT')
PARENT = os.getppid()  # read when the command starts: while torch is imported, the launcher may already be killed
WATCH_INTERVAL = 1.  # seconds


def restarted() -> bool:
    """Whether torchrun or Slurm started this very run before, so that it has to go on from its last save."""
    return any(os.environ.get(name, '0') not in ('', '0') for name in RESTART_COUNTS)


def is_first_of_machine(launcher: str) -> bool:
    """Whether this process is the first one on its machine; it is alone if ``launcher`` is 'none'."""
    return launcher == 'none' or os.environ.get(VARIABLES[launcher][2], '0') == '0'


def join_processes(cfg: Config) -> None:
    """Make this process one of a distributed run: it knows the others, and ends when its launcher does.

    Args:
        cfg (mmengine.Config): The config, with a ``launcher`` other than 'none'; changed in place on the CPU.

    Raises:
        UserError: If the launcher did not start this process, or the address of the first process is not known.
    """
    from mmengine.device import get_device
    rank, size, local_rank = (read_variable(cfg.launcher, name) for name in VARIABLES[cfg.launcher])
    os.environ.update(RANK=rank, WORLD_SIZE=size, LOCAL_RANK=local_rank)
    if cfg.launcher != 'pytorch':
        os.environ.setdefault('MASTER_PORT', master_port())
        if 'MASTER_ADDR' not in os.environ:
            os.environ['MASTER_ADDR'] = slurm_address() if cfg.launcher == 'slurm' else mpi_address()
    end_with_launcher(cfg.launcher)
    if get_device() == 'cpu':
        join_cpu_processes(cfg)


def read_variable(launcher: str, name: str) -> str:
    """The value of a variable that a launcher sets.

    Raises:
        UserError: If it is not set.
    """
    if name not in os.environ:
        raise UserError(f'--launcher {launcher}: {name} is not set; start the processes by {STARTS[launcher]}')
    return os.environ[name]


def master_port() -> str:
    """29500, as everywhere in PyTorch; in a Slurm job a port of its own, for two jobs may share a machine."""
    job = os.environ.get('SLURM_JOB_ID', '')
    return str(20000 + int(job) % 10000) if job.isdigit() else '29500'


def slurm_address() -> str:
    """The first machine of a Slurm job, on which its first process runs.

    Raises:
        UserError: If Slurm's ``scontrol`` does not tell.
    """
    nodes = read_variable('slurm', 'SLURM_NODELIST')
    try:
        told = subprocess.run(['scontrol', 'show', 'hostnames', nodes], capture_output=True, text=True, check=True)
        return told.stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError) as error:
        raise UserError(f"--launcher slurm: `scontrol show hostnames '{nodes}'` did not tell the first machine; "
                        'name it in MASTER_ADDR') from error


def mpi_address() -> str:
    """This machine, where mpirun started all processes on it.

    Raises:
        UserError: If there are others.
    """
    if read_variable('mpi', 'OMPI_COMM_WORLD_LOCAL_SIZE') != os.environ['OMPI_COMM_WORLD_SIZE']:
        raise UserError('--launcher mpi: on several machines MASTER_ADDR must name that of the first process')
    return '127.0.0.1'


def join_cpu_processes(cfg: Config) -> None:
    """Start gloo, and have the model wrapped without device numbers: mmengine would ask for CUDA devices in both.

    Args:
        cfg (mmengine.Config): The config, changed in place: another model wrapper, and no ``sync_bn``.
    """
    import torch.distributed
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group('gloo')
    if cfg.pop('sync_bn', None) and torch.distributed.get_rank() == 0:
        print('sync_bn is left out: batch norms synchronise on GPUs only; here each process has its own statistics')
    if not cfg.get('model_wrapper_cfg'):
        cfg.model_wrapper_cfg = dict(
            type='MMDistributedDataParallel',
            device_ids=None,
            broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False))


def end_with_launcher(launcher: str) -> None:
    """End this process, with a message and exit code 1, soon after its launcher was killed; returns at once.

    A launcher ends its processes when it stops, but not when it is killed: they would train on, unseen, and hold
    their GPUs. A thread watches, for the main one may wait for another process that is gone. The processes that load
    data watch for this one, by themselves. Ranks that a user's own script started, without torchrun, may outlive it.

    Args:
        launcher (str): 'pytorch', 'slurm' or 'mpi'.
    """
    if launcher != 'pytorch' or 'TORCHELASTIC_RUN_ID' in os.environ:
        threading.Thread(target=watch_parent, name='end_with_launcher', daemon=True).start()


def watch_parent() -> None:
    """Wait until this process has another parent than when it started, and end it."""
    while os.getppid() == PARENT:
        time.sleep(WATCH_INTERVAL)
    with contextlib.suppress(OSError):  # what read our stderr may be gone, too
        os.write(2, f'{Path(sys.argv[0]).name}: error: the launcher (process {PARENT}) is gone, so that process '
                    f'{os.getpid()} ends\n'.encode())
    os._exit(1)
