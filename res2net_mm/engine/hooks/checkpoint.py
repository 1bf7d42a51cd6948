"""mmengine's checkpoints, saved so that a whole one is there at every moment."""
from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterable, Iterator, Sequence

from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from mmengine.runner import EpochBasedTrainLoop, Runner

from ...models.layers.arguments import (
    Flag,
    Integer,
    OrNone,
    Rule,
    SequenceOf,
    Settings,
    Text,
    checked,
)
from ...models.layers.refusal import naming_argument, refuse
from ...registry import HOOKS
from ...utils.errors import UserError
from ...utils.random_state import random_state
from ...utils.whole_file import NoSpaceError, unfinished_files
from ..resumption import NOTHING_YET, name_checkpoint, numbered_checkpoints
from ..whole_files import whole_files


class Names(Rule):
    """A text, or a list of texts."""

    def check(self, name: str, value: Any, arguments: dict[str, Any]) -> Any:
        """Return the value."""
        if isinstance(value, str):
            return Text().check(name, value, arguments)
        return list(SequenceOf(Text(), 'texts', at_least=1).check(name, value, arguments))


RULES = dict(
    interval=Integer(-1),
    by_epoch=Flag(),
    save_optimizer=Flag(),
    save_param_scheduler=Flag(),
    out_dir=OrNone(Text(file=True)),
    max_keep_ckpts=Integer(-1),
    save_last=Flag(),
    save_best=OrNone(Names()),
    rule=OrNone(Names()),
    greater_keys=OrNone(SequenceOf(Text(), 'texts')),
    less_keys=OrNone(SequenceOf(Text(), 'texts')),
    file_client_args=OrNone(Settings()),
    filename_tmpl=OrNone(Text()),
    backend_args=OrNone(Settings()),
    published_keys=OrNone(Names()),
    save_begin=Integer(0),
)


@HOOKS.register_module()
class CheckpointHook(MMEngineCheckpointHook):
    """mmengine's CheckpointHook that loses nothing: the same arguments, file names and layout.

    * A checkpoint is written beside its name, and takes the name when it is on the disk. So is ``last_checkpoint``,
      which names it. Only then is deleted what ``max_keep_ckpts`` and ``save_best`` replace: the disk needs room for
      one more than they keep.
    * A full disk ends the run with what is missing, and nothing is deleted. (``StopAtInvalidLoss`` sees to it that no
      weights are saved that are not finite.)
    * ``meta`` has what a resumed run needs to be as one without a break (``ResumeExactly``): the random numbers of
      all processes, and whether a validation comes next.
    * In a copied work directory the files there are replaced, not those of the original.

    Args:
        interval (int): Save every so many epochs or iterations; -1: only what ``save_last`` and ``save_best`` say.
            Defaults to -1.
        by_epoch (bool): Count epochs. Defaults to True.
        save_optimizer (bool): Save the optimizer's state, too. Defaults to True.
        save_param_scheduler (bool): Save the schedules' state, too. Defaults to True.
        out_dir (str | None): Where to save, in a folder for each work directory. Defaults to None: there.
        max_keep_ckpts (int): Keep so many; -1: all. Defaults to -1.
        save_last (bool): Save at the end of the run. Defaults to True.
        save_best (str | Sequence[str] | None): Metrics whose best checkpoint is kept. Defaults to None.
        rule (str | Sequence[str] | None): 'greater' or 'less' is better, for all of them or each. Defaults to None: as
            the metric's name tells.
        greater_keys (Sequence[str] | None): Names of which greater is better. Defaults to None: mmengine's.
        less_keys (Sequence[str] | None): Names of which less is better. Defaults to None: mmengine's.
        file_client_args (dict | None): mmengine's older ``backend_args``. Defaults to None.
        filename_tmpl (str | None): Names of files, with one '{}' for the number. Defaults to None: 'epoch_{}.pth' or
            'iter_{}.pth'.
        backend_args (dict | None): Of mmengine's file backend. Defaults to None.
        published_keys (str | Sequence[str] | None): What of a checkpoint is published in the end. Defaults to None.
        save_begin (int): Save from this epoch or iteration on. Defaults to 0.

    Raises:
        ValueError: If an argument is not allowed.
        UserError: If there is no room for a checkpoint.
    """

    @checked(RULES)
    def __init__(self,
                 interval: int = -1,
                 by_epoch: bool = True,
                 save_optimizer: bool = True,
                 save_param_scheduler: bool = True,
                 out_dir: str | Path | None = None,
                 max_keep_ckpts: int = -1,
                 save_last: bool = True,
                 save_best: str | list[str] | None = None,
                 rule: str | list[str] | None = None,
                 greater_keys: Sequence[str] | None = None,
                 less_keys: Sequence[str] | None = None,
                 file_client_args: dict | None = None,
                 filename_tmpl: str | None = None,
                 backend_args: dict | None = None,
                 published_keys: str | list[str] | None = None,
                 save_begin: int = 0) -> None:
        if filename_tmpl is not None and filename_tmpl.count('{}') != 1:
            refuse('filename_tmpl', filename_tmpl, "a text with one '{}'")
        if file_client_args is not None and backend_args is not None:
            refuse('file_client_args', file_client_args, 'None beside backend_args')
        with naming_argument('save_best', save_best, 'metrics that rule, greater_keys and less_keys fit'):
            super().__init__(
                interval, by_epoch, save_optimizer, save_param_scheduler, out_dir, max_keep_ckpts, save_last,
                save_best, rule, greater_keys, less_keys, file_client_args, filename_tmpl, backend_args,
                published_keys, save_begin)

    def before_train(self, runner: Runner) -> None:
        """Find what an earlier process of this run has saved."""
        super().before_train(runner)
        self.file_backend: Any = LateRemovals(self.file_backend)
        saved = self._own(runner.message_hub.runtime_info.get('last_ckpt'))
        self.last_ckpt = saved if saved and self.file_backend.exists(saved) else None
        if self.save_best is not None:
            if len(self.key_indicators) == 1:
                self.best_ckpt_path: str | None = self._own(self.best_ckpt_path)
            else:
                self.best_ckpt_path_dict: dict = {
                    key: self._own(path) for key, path in self.best_ckpt_path_dict.items()}
        if is_main_process() and Path(self.out_dir).is_dir():
            for path in unfinished_files(self.out_dir):
                path.unlink()
            for name in runner.message_hub.runtime_info.get('outdated_files', []):
                self.file_backend.remove(self.file_backend.join_path(self.out_dir, name))
            self.file_backend.remove_waiting(kept=self._best())
            self._point(runner)

    def _point(self, runner: Runner) -> None:
        """Have ``last_checkpoint`` say what this run goes on from, where an earlier run has left another.

        ``--resume`` would take that for this run's if it is killed before it saves.
        """
        resumed = runner._load_from if runner._resume else None
        if resumed and Path(resumed).resolve().parent == Path(self.out_dir).resolve():
            name_checkpoint(runner.work_dir, resumed)
        elif numbered_checkpoints(self.out_dir):
            name_checkpoint(runner.work_dir, NOTHING_YET)

    def after_train(self, runner: Runner) -> None:
        """Publish, if ``published_keys`` says so."""
        with self._safely():
            super().after_train(runner)

    def _path(self, step: int) -> str:
        return self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(step))

    def _own(self, path: str | None) -> str | None:
        """The file of this name in this run's folder; a checkpoint has the path in the folder where it was saved."""
        return path and self.file_backend.join_path(self.out_dir, Path(path).name)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Have the checkpoint say where the run is: FlexibleRunner counts on when it saves after a validation."""
        checkpoint['meta'].update(checkpoint['meta'].pop('place', {}))

    def _save_checkpoint(self, runner: Runner) -> None:
        if self.by_epoch:
            step, place = runner.epoch + 1, dict(epoch=runner.epoch + 1, iter=runner.iter)
        else:
            step, place = runner.iter + 1, dict(epoch=runner.epoch, iter=runner.iter + 1)
        # An epoch-based loop validates after what is saved at the end of an epoch, the other after an iteration's.
        self._save(runner, step, place, self.by_epoch == isinstance(runner.train_loop, EpochBasedTrainLoop))

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        """Called by ``_save_best_checkpoint``, so that the last checkpoint knows the best."""
        self._save(runner, step, dict(epoch=runner.epoch, iter=runner.iter), validation_next=False)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        with self._safely():
            super()._save_best_checkpoint(runner, metrics)

    def _save(self, runner: Runner, step: int, place: dict, validation_next: bool) -> None:
        """Save, then have ``last_checkpoint`` name it, then delete what is outdated.

        Args:
            runner (Runner): The runner.
            step (int): The number in the name of the file.
            place (dict): Epochs and iterations that are done.
            validation_next (bool): Whether the loop may validate before it goes on.
        """
        path = self._path(step)
        self._keep(runner, step)
        runner.message_hub.update_info('last_ckpt', path)
        states = all_gather_object(random_state())
        with self._safely():
            runner.save_checkpoint(
                self.out_dir, Path(path).name, self.file_client_args, save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler, by_epoch=self.by_epoch,
                meta=dict(place, place=place, random_states=states, validation_next=validation_next),
                backend_args=self.backend_args, **self.args)
            self.last_ckpt = path
            if is_main_process():
                name_checkpoint(runner.work_dir, path)

    def _keep(self, runner: Runner, step: int) -> None:
        """Count a checkpoint among those that are kept, and note the files that are not any more.

        The checkpoint that is about to be saved names them: if the run is killed before they are removed, the resumed
        one removes them.
        """
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts and is_main_process():
                self.file_backend.remove(self._path(self.keep_ckpt_ids[0]))
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        runner.message_hub.update_info('outdated_files', [Path(path).name for path in self.file_backend.waiting])

    @contextmanager
    def _safely(self) -> Iterator[None]:
        """Within it files are written whole, removals wait for its end, and a full disk is an error for the user."""
        try:
            with whole_files():
                yield
        except NoSpaceError as error:
            raise UserError(f'{error}. {self._last_good()}') from error
        self.file_backend.remove_waiting(kept=self._best())

    def _best(self) -> list[str | None]:
        if self.save_best is None:
            return []
        return [self.best_ckpt_path] if len(self.key_indicators) == 1 else list(self.best_ckpt_path_dict.values())

    def _last_good(self) -> str:
        if not self.last_ckpt:
            return 'No checkpoint was saved before.'
        return f"The last one that was saved is '{self.last_ckpt}': --resume goes on from there."


class LateRemovals:
    """A file backend that removes files not when it is told to, but later, when what replaces them is there.

    Args:
        backend (BaseStorageBackend | FileClient): The backend; its attributes are those of this one, too.
    """

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.waiting: list[str] = []

    def remove(self, path: str) -> None:
        """Note a file or folder that is to be removed."""
        self.waiting.append(path)

    rmtree = remove

    def remove_waiting(self, kept: Iterable[str | None] = ()) -> None:
        """Remove what was noted, unless it is kept: a file that was to be removed may be there anew."""
        while self.waiting:
            path = self.waiting.pop(0)
            if path in kept:
                continue
            if self.backend.isfile(path):
                self.backend.remove(path)
            elif self.backend.isdir(path):  # DeepSpeed's checkpoints are folders
                self.backend.rmtree(path)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)
