"""Fully sharded training (FSDP) through mmengine's FlexibleRunner: ``configs/_base_/fsdp.py``."""
from mmengine._strategy import FSDPStrategy as MMEngineFSDPStrategy
from mmengine.device import get_device
from torch.distributed.fsdp import FullyShardedDataParallel

from ..registry import STRATEGIES


@STRATEGIES.register_module()
class FSDPStrategy(MMEngineFSDPStrategy):
    """mmengine's FSDP strategy, which also resumes on PyTorch since 2.1, and runs on the CPU (gloo).

    The whole model is one unit: gradients, optimizer state and, between iterations, weights are divided among the
    processes. Checkpoints are whole (mmengine's ``state_dict_cfg='full'``), so that testing needs no FSDP.

    Args:
        **kwargs: Of mmengine's ``BaseStrategy``; the runner gives them.

    Raises:
        ValueError: If the run is not distributed, or clips gradients by their norm: mmengine would take the norm of
            each process's share for that of the whole.
    """

    def __init__(self, **kwargs):
        on_cpu = get_device() == 'cpu'
        # What is offloaded to the CPU must not be there already: PyTorch then keeps a view of memory that it frees.
        offload = dict(rank0_only=True, offload_to_cpu=not on_cpu)
        super().__init__(
            model_wrapper=dict(type='MMFullyShardedDataParallel', **(dict(device_id='cpu') if on_cpu else {})),
            state_dict_cfg=dict(
                state_dict_type='FULL_STATE_DICT',
                state_dict_config=dict(type='FullStateDictConfig', **offload),
                optim_state_dict_config=dict(type='FullOptimStateDictConfig', **offload)),
            **kwargs)
        if not self._distributed:
            raise ValueError('FSDP divides the model among processes; start it with tools/dist_train.sh CONFIG GPUS')

    def build_optim_wrapper(self, optim_wrapper, model=None):
        """Build the optimizer wrapper of a config."""
        clip = optim_wrapper.get('clip_grad')
        if clip and clip.get('type', 'norm') == 'norm':
            raise ValueError("FSDP: optim_wrapper.clip_grad by norm would clip each process's share of the gradients "
                             'by itself; remove it, or train without FSDP')
        return super().build_optim_wrapper(optim_wrapper, model)

    def load_optim_state_dict(self, state_dict):
        """Load the optimizer's state, giving PyTorch by name what mmengine gives in the order of PyTorch 2.0."""
        optimizer = self.optim_wrapper.optimizer
        optimizer.load_state_dict(
            FullyShardedDataParallel.optim_state_dict_to_load(self.model, optimizer, state_dict))
