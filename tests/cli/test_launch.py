"""What a process of a distributed run reads from its launcher."""
import os
import re

import pytest
import torch
from helpers import free_port
from mmengine.config import Config

from res2net_mm.cli import launch
from res2net_mm.cli.launch import (
    end_with_launcher,
    is_first_of_machine,
    join_processes,
    mpi_address,
    restarted,
    slurm_address,
)
from res2net_mm.utils.errors import UserError

VARIABLES = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT', *launch.RESTART_COUNTS,
             'TORCHELASTIC_RUN_ID', 'SLURM_JOB_ID', 'SLURM_NODELIST', 'OMPI_COMM_WORLD_LOCAL_SIZE',
             *(name for names in launch.VARIABLES.values() for name in names))


@pytest.fixture(autouse=True)
def environment():
    """None of the variables; what a test or the command sets is forgotten after it."""
    before = dict(os.environ)
    for name in VARIABLES:
        os.environ.pop(name, None)
    yield os.environ.__setitem__
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def scontrol(tmp_path, environment):
    """A scontrol that knows ``a[3-4]``."""
    program = tmp_path / 'scontrol'
    program.write_text('#!/bin/sh\n[ "$*" = "show hostnames a[3-4]" ] && printf "a3\\na4\\n"\n')
    program.chmod(0o755)
    environment('PATH', str(tmp_path))


@pytest.mark.parametrize('name', launch.RESTART_COUNTS)
def test_restarted(name, environment):
    assert not restarted()
    for value, wanted in (('0', False), ('', False), ('1', True), ('12', True)):
        environment(name, value)
        assert restarted() is wanted


@pytest.mark.parametrize('launcher', ['pytorch', 'slurm', 'mpi'])
def test_a_process_that_the_launcher_did_not_start(launcher):
    name, start = launch.VARIABLES[launcher][0], launch.STARTS[launcher]
    with pytest.raises(UserError, match=re.escape(f'--launcher {launcher}: {name} is not set; start the processes by '
                                                  f'{start}')):
        join_processes(Config(dict(launcher=launcher)))


@pytest.mark.parametrize('launcher', ['slurm', 'mpi'])
def test_one_process(launcher, environment, scontrol):
    """gloo starts on the CPU, with the launcher's own variables."""
    for name, value in zip(launch.VARIABLES[launcher], '010'):
        environment(name, value)
    environment('SLURM_NODELIST', 'a[3-4]')
    environment('MASTER_ADDR', '127.0.0.1')
    environment('MASTER_PORT', free_port())
    cfg = Config(dict(launcher=launcher, sync_bn='torch'))
    join_processes(cfg)
    try:
        assert torch.distributed.get_backend() == 'gloo' and torch.distributed.get_world_size() == 1
        assert cfg.model_wrapper_cfg.device_ids is None and 'sync_bn' not in cfg
    finally:
        torch.distributed.destroy_process_group()


def test_slurm_meets_on_the_first_machine(environment, scontrol):
    environment('SLURM_NODELIST', 'a[3-4]')
    assert slurm_address() == 'a3'
    environment('SLURM_NODELIST', 'b')
    with pytest.raises(UserError, match="`scontrol show hostnames 'b'` did not tell"):
        slurm_address()


def test_jobs_of_slurm_have_ports_of_their_own(environment):
    assert launch.master_port() == '29500'
    environment('SLURM_JOB_ID', '1234567')
    assert launch.master_port() == '24567'


def test_mpi_on_several_machines(environment):
    environment('OMPI_COMM_WORLD_SIZE', '4')
    environment('OMPI_COMM_WORLD_LOCAL_SIZE', '4')
    assert mpi_address() == '127.0.0.1'
    environment('OMPI_COMM_WORLD_LOCAL_SIZE', '2')
    with pytest.raises(UserError, match='MASTER_ADDR must name that of the first process'):
        mpi_address()


def test_only_processes_of_a_launcher_are_watched(environment, monkeypatch):
    """A rank that a user's script has started may outlive the script."""
    watched = []
    monkeypatch.setattr(launch, 'watch_parent', lambda: watched.append(True))
    end_with_launcher('pytorch')
    assert not watched
    environment('TORCHELASTIC_RUN_ID', 'one')
    end_with_launcher('pytorch')
    end_with_launcher('slurm')
    assert len(watched) == 2




@pytest.mark.parametrize('launcher, variable', [('pytorch', 'LOCAL_RANK'), ('slurm', 'SLURM_LOCALID'),
                                                ('mpi', 'OMPI_COMM_WORLD_LOCAL_RANK')])
def test_first_of_machine(launcher, variable, monkeypatch):
    """It alone reads the annotation files, which may be a gigabyte."""
    for number, expected in (('0', True), ('3', False)):
        monkeypatch.setenv(variable, number)
        assert is_first_of_machine(launcher) is expected
        assert is_first_of_machine('none')
