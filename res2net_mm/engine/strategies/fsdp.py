"""Fully sharded training (FSDP) through mmengine's FlexibleRunner: ``configs/_base_/fsdp.py``."""
from __future__ import annotations

import os
from typing import Any

from mmengine._strategy import FSDPStrategy as MMEngineFSDPStrategy
from mmengine.device import get_device
from mmengine.optim import BaseOptimWrapper
from mmengine.utils import mkdir_or_exist
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel

from ...models.layers.arguments import (
    Anything,
    Flag,
    Integer,
    OneOf,
    OrNone,
    Settings,
    Text,
    checked,
)
from ...models.layers.refusal import naming_argument, refuse
from ...registry import STRATEGIES

RULES = dict(
    skip_init_weights=Flag(),
    activation_checkpointing=OrNone(Settings()),
    work_dir=Text(file=True),
    experiment_name=OrNone(Text()),
    env_kwargs=OrNone(Settings(
        launcher=OrNone(OneOf('none', 'pytorch', 'slurm', 'mpi')), cudnn_benchmark=Flag(), mp_cfg=OrNone(Settings()),
        dist_cfg=OrNone(Settings()), resource_limit=Integer(1), randomness=Settings())),
    log_kwargs=OrNone(Settings(
        log_level=OneOf('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL', 10, 20, 30, 40, 50), log_file=OrNone(Text()),
        file_mode=OneOf('a', 'w'), name=Text(), logger_name=Text(), distributed=Flag(),
        file_handler_cfg=OrNone(Anything()))),
    auto_scale_lr=OrNone(Settings(base_batch_size=Integer(1), enable=Flag())),
)


@STRATEGIES.register_module()
class FSDPStrategy(MMEngineFSDPStrategy):
    """mmengine's FSDP strategy, which also resumes on PyTorch since 2.1, and runs on the CPU (gloo).

    The whole model is one unit: gradients, optimizer state and, between iterations, weights are divided among the
    processes. Checkpoints are whole (mmengine's ``state_dict_cfg='full'``), so that testing needs no FSDP.

    Args:
        skip_init_weights (bool): Leave the weights as they are built, for a checkpoint that brings all of them.
            Defaults to False.
        activation_checkpointing (dict | None): As in mmengine's FSDPStrategy. Defaults to None.
        work_dir (str): Of the run; the runner gives this and what follows. Defaults to 'work_dirs'.
        experiment_name (str | None): Name of the run. Defaults to None, the time.
        env_kwargs (dict | None): As in mmengine's BaseStrategy. Defaults to None.
        log_kwargs (dict | None): As in mmengine's BaseStrategy. Defaults to None.
        auto_scale_lr (dict | None): As in mmengine's BaseStrategy. Defaults to None.

    Raises:
        ValueError: If an argument is not allowed, or processes cannot be set up so; if the run is not distributed, or
            clips gradients by their norm: mmengine would take the norm of each process's share for that of the whole.
    """

    @checked(RULES)
    def __init__(self,
                 *,
                 skip_init_weights: bool = False,
                 activation_checkpointing: dict | None = None,
                 work_dir: str = 'work_dirs',
                 experiment_name: str | None = None,
                 env_kwargs: dict | None = None,
                 log_kwargs: dict | None = None,
                 auto_scale_lr: dict | None = None) -> None:
        on_cpu = get_device() == 'cpu'
        # What is offloaded to the CPU must not be there already: PyTorch then keeps a view of memory that it frees.
        offload = dict(rank0_only=True, offload_to_cpu=not on_cpu)
        with naming_argument('work_dir', work_dir, 'a folder that can be made'):
            mkdir_or_exist(os.path.abspath(work_dir))
        with naming_argument('env_kwargs', env_kwargs, 'what this process can be set up with'):
            super().__init__(
                model_wrapper=dict(type='MMFullyShardedDataParallel', **(dict(device_id='cpu') if on_cpu else {})),
                state_dict_cfg=dict(
                    state_dict_type='FULL_STATE_DICT',
                    state_dict_config=dict(type='FullStateDictConfig', **offload),
                    optim_state_dict_config=dict(type='FullOptimStateDictConfig', **offload)),
                skip_init_weights=skip_init_weights,
                activation_checkpointing=activation_checkpointing,
                work_dir=work_dir,
                experiment_name=experiment_name,
                env_kwargs=env_kwargs,
                log_kwargs=log_kwargs,
                auto_scale_lr=auto_scale_lr)
        if not self._distributed:
            refuse('env_kwargs', env_kwargs, 'that of a distributed run: FSDP divides the model among processes; start '
                   'it with tools/dist_train.sh CONFIG GPUS')

    def build_optim_wrapper(self, optim_wrapper: dict, model: nn.Module | None = None) -> BaseOptimWrapper:
        """Build the optimizer wrapper of a config."""
        clip = optim_wrapper.get('clip_grad')
        if clip and clip.get('type', 'norm') == 'norm':
            raise ValueError("FSDP: optim_wrapper.clip_grad by norm would clip each process's share of the gradients "
                             'by itself; remove it, or train without FSDP')
        return super().build_optim_wrapper(optim_wrapper, model)

    def load_optim_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the optimizer's state, giving PyTorch by name what mmengine gives in the order of PyTorch 2.0."""
        optimizer = self.optim_wrapper.optimizer
        optimizer.load_state_dict(
            FullyShardedDataParallel.optim_state_dict_to_load(self.model, optimizer, state_dict))
