"""A resumed run that is the run which was cut off."""
from __future__ import annotations

from typing import Any

from mmengine.dist import broadcast, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner

from ...models.layers.arguments import checked
from ...registry import HOOKS
from ...utils.random_state import set_random_state
from ..numbered_batches import NumberedBatches, number_batches


@HOOKS.register_module()
class ResumeExactly(Hook):
    """Resume so that the run ends as one without a break: bit for bit on a CPU, with random augmentation, too.

    mmengine restores weights, optimizer and schedules. This hook goes on with the random numbers of every process and
    with the batch that was next, also in the middle of an epoch, and first runs the validation that had not been run
    when the checkpoint was saved. It needs checkpoints of ``res2net_mm.CheckpointHook``; from others it goes on with
    the batch alone, and says so.

    What is not in a checkpoint of mmengine's is lost as before: gradients that are accumulated over several iterations,
    caches of datasets, and what other hooks count.
    """

    priority = 'LOWEST'  # when the other hooks are ready to train

    @checked({})
    def __init__(self) -> None:
        self.meta: dict[str, Any] | None = None
        self.batches: NumberedBatches | None = None
        self.epoch_start = 0  # the iterations that were done when the epoch began

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep what the checkpoint says of the run that is resumed; other checkpoints bring weights alone."""
        self.meta = checkpoint['meta'] if runner._resume else None

    def before_train(self, runner: Runner) -> None:
        """Number the batches, and go on where the run was."""
        loop = runner.train_loop
        self.batches = number_batches(loop.dataloader, runner.seed, get_rank())
        iterator: Any = getattr(loop, 'dataloader_iterator', None)
        if self.batches is not None and hasattr(iterator, 'skip_iter'):
            # mmengine leaves batches out by loading them, where the sampler cannot do it.
            iterator.skip_iter = self.batches.skip
            self.batches.on_pass = lambda number: begin_pass(iterator, number)
        validation = getattr(runner.val_loop, 'dataloader', None)
        if hasattr(validation, 'batch_sampler'):
            number_batches(validation, runner.seed, get_rank())

        if self.meta is None:
            return
        self.epoch_start = self.meta.get('epoch_start', runner.iter)  # for what is saved after the validation below
        states = self.meta.get('random_states', [])
        if len(states) == get_world_size():
            set_random_state(states[get_rank()])
        else:
            runner.logger.warning(
                f'The checkpoint has the random numbers of {len(states)} processes, and there are {get_world_size()}: '
                'the resumed run is not bit for bit the run without a break')
        if self.meta.get('validation_next') and validation_is_due(runner):
            runner.logger.info('The validation that comes after this checkpoint is run')
            runner.val_loop.run()

    def before_train_epoch(self, runner: Runner) -> None:
        """Have the batches counted from the iterations that are done, and leave those out that are of this epoch."""
        if self.meta is None:
            self.epoch_start = runner.iter
        self.meta = None
        if self.batches is None:
            return
        self.batches.number = runner.iter
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            self.batches.skip(min(runner.iter - self.epoch_start, len(self.batches)))

    def before_val(self, runner: Runner) -> None:
        """Give all processes the first one's buffers, such as batch norms' statistics: those that are saved.

        So the metrics are those of the saved model, and a resumed run, whose processes all begin with it, has them too.
        """
        if get_world_size() > 1:
            for buffer in runner.model.buffers():
                broadcast(buffer)

    def after_train_epoch(self, runner: Runner) -> None:
        """Note that the next epoch begins here, also for what is saved before it does."""
        self.epoch_start = runner.iter

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Save where the epoch began. What is saved at the end of an epoch counts it already."""
        meta = checkpoint['meta']
        meta['epoch_start'] = self.epoch_start if meta['epoch'] == runner.epoch else meta['iter']


def validation_is_due(runner: Runner) -> bool:
    """Whether mmengine's loops validate after the epochs or iterations that are done."""
    loop = runner.train_loop
    if runner.val_loop is None or not isinstance(loop, (EpochBasedTrainLoop, IterBasedTrainLoop)):
        return False
    by_epoch = isinstance(loop, EpochBasedTrainLoop)
    done, end = (loop.epoch, loop.max_epochs) if by_epoch else (loop.iter, loop.max_iters)
    return done >= loop.val_begin and (done % loop.val_interval == 0 or done == end)


def begin_pass(iterator: Any, number: int) -> None:
    """What mmengine's endless iterator does when it begins another pass over the dataset."""
    iterator._epoch = number
    loader = iterator._dataloader
    sampler: Any = loader.sampler
    if not hasattr(sampler, 'set_epoch'):
        sampler = getattr(loader.batch_sampler, 'sampler', None)
    if hasattr(sampler, 'set_epoch'):
        sampler.set_epoch(number)
