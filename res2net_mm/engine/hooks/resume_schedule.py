"""The schedule of a resumed run whose config is another by now."""
from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...models.layers.arguments import Flag, checked
from ...registry import HOOKS
from ...utils.text import shorten
from ..schedules import advance, optimizers_by_name, overruled_settings, put_schedule, rates


@HOOKS.register_module()
class ResumeSchedule(Hook):
    """Say which settings of the config a resumed checkpoint overrules, or follow the config.

    A checkpoint brings its optimizer's settings and its schedules, and mmengine goes on with them without a word: a
    config with a longer schedule, resumed, still decays as the shorter one.

    Args:
        follow_config (bool): Go on with the learning rate that a run of this config would have had after as many
            iterations, and with its schedule. Defaults to False: go on with the checkpoint's, and warn.

    Raises:
        ValueError: If the argument is not allowed.
    """

    @checked(dict(follow_config=Flag()))
    def __init__(self, follow_config: bool = False) -> None:
        self.follow_config = follow_config

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare the checkpoint with the config, or change it, before it is loaded."""
        if not runner._resume or 'optimizer' not in checkpoint or 'param_schedulers' not in checkpoint:
            return
        differences = overruled_settings(runner, checkpoint)
        if not differences:
            return
        optimizers = optimizers_by_name(runner)
        stored = rates(checkpoint['optimizer'][name] if name else checkpoint['optimizer'] for name in optimizers)
        advance(runner, checkpoint['meta']['epoch'], checkpoint['meta']['iter'])  # what is loaded next undoes it
        fresh = rates(optimizer.state_dict() for optimizer in optimizers.values())
        if self.follow_config:
            put_schedule(runner, checkpoint)
            runner.logger.warning(f'The run goes on with the schedule of the config: learning rate {fresh}, and not '
                                  f'{stored} as in the checkpoint. {shorten(differences, 8)}')
        else:
            runner.logger.warning(
                f'The run goes on with the optimizer and the schedule of the checkpoint, learning rate {stored}. A run '
                f'of the config would have {fresh} here: {shorten(differences, 8)}. To go on with the schedule of the '
                'config: --resume --new-schedule')
