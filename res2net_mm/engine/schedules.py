"""What a checkpoint says of the learning rate, beside what the config says."""
from __future__ import annotations

import warnings
from typing import Any, Iterable, Mapping

from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner

from ..utils.config_types import argument_names

Named = Mapping[str, Any]


def schedulers_by_name(runner: Runner) -> dict[str, list]:
    """The schedulers of each optimizer of a runner; of the only one under the name ''."""
    schedulers = runner.param_schedulers or []
    return dict(schedulers) if isinstance(schedulers, dict) else {'': list(schedulers)}


def optimizers_by_name(runner: Runner) -> dict[str, Any]:
    """The optimizers of a runner; the only one under the name ''."""
    wrapper = runner.optim_wrapper
    if isinstance(wrapper, OptimWrapperDict):
        return {name: part.optimizer for name, part in wrapper.items()}
    return {'': wrapper.optimizer} if isinstance(wrapper, OptimWrapper) else {}


def overruled_settings(runner: Runner, checkpoint: Named) -> list[str]:
    """The settings of the config that a resumed checkpoint overrules, without a word in mmengine.

    Args:
        runner (Runner): The runner, with optimizer and schedules as the config says; the checkpoint is not loaded yet.
        checkpoint (dict): The checkpoint, with 'optimizer' and 'param_schedulers'.

    Returns:
        list[str]: One sentence for each setting of a schedule or an optimizer that has another value in the checkpoint.
    """
    return [*_different_optimizers(runner, checkpoint), *_different_schedules(runner, checkpoint)]


def _different_schedules(runner: Runner, checkpoint: Named) -> Iterable[str]:
    stored = checkpoint.get('param_schedulers', [])
    stored_by_name = stored if isinstance(stored, dict) else {'': stored}
    for name, schedulers in schedulers_by_name(runner).items():
        states = stored_by_name.get(name, [])
        if len(states) != len(schedulers):
            yield f'{len(states)} schedules in the checkpoint, {len(schedulers)} in the config'
            continue
        for scheduler, state in zip(schedulers, states):
            fresh = scheduler.state_dict()
            for key in sorted(setting_names(type(scheduler)) & fresh.keys() & state.keys()):
                if fresh[key] != state[key]:
                    setting = f'{type(scheduler).__name__}.{key}'
                    yield f'{setting} is {state[key]} in the checkpoint, {fresh[key]} in the config'


def _different_optimizers(runner: Runner, checkpoint: Named) -> Iterable[str]:
    stored = checkpoint.get('optimizer', {})
    for name, optimizer in optimizers_by_name(runner).items():
        groups = stored.get(name, {}).get('param_groups', []) if name else stored.get('param_groups', [])
        seen = set()
        for mine, other in zip(optimizer.param_groups, groups):
            for key in mine.keys() & other.keys() - {'params', 'lr'}:  # 'initial_lr' is that of the config
                if mine[key] != other[key] and is_plain(mine[key]) and is_plain(other[key]):
                    seen.add(f'{key} is {other[key]} in the checkpoint, {mine[key]} in the config')
        yield from sorted(seen)


def is_plain(value: object) -> bool:
    """Whether a value of a param group is a setting: tensors hold what an optimizer computes."""
    return isinstance(value, (int, float, str, bool, tuple, list, type(None)))


def setting_names(kind: type) -> set[str]:
    """The arguments of a scheduler's class; what else it has in its state is how far it is."""
    return argument_names(kind) - {'self', 'optimizer', 'last_step', 'verbose'}


def advance(runner: Runner, epochs: int, iterations: int) -> None:
    """Bring the schedules of a runner, and the rates of its optimizers, to where a run of its config would be.

    Args:
        runner (Runner): The runner, with optimizer and schedules as the config says.
        epochs (int): Epochs that are done.
        iterations (int): Iterations that are done, in these epochs and after them.
    """
    length = len(runner.train_dataloader)
    for schedulers in schedulers_by_name(runner).values():
        done = 0
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # PyTorch's, that the optimizer takes no steps in between
            for iteration in range(1, iterations + 1):
                step_all(schedulers, by_epoch=False)
                if iteration % length == 0 and done < epochs:
                    step_all(schedulers, by_epoch=True)
                    done += 1
            for _ in range(epochs - done):  # of a run with fewer iterations in an epoch
                step_all(schedulers, by_epoch=True)


def step_all(schedulers: Iterable[Any], by_epoch: bool) -> None:
    """Step those that count epochs, or those that count iterations; not those that wait for metrics."""
    for scheduler in schedulers:
        if scheduler.by_epoch == by_epoch and not getattr(scheduler, 'need_val_args', False):
            scheduler.step()


def put_schedule(runner: Runner, checkpoint: dict) -> None:
    """Put the settings of a runner's optimizers and the state of its schedules into a checkpoint, which is changed."""
    states = {name: [scheduler.state_dict() for scheduler in schedulers]
              for name, schedulers in schedulers_by_name(runner).items()}
    checkpoint['param_schedulers'] = states if isinstance(runner.param_schedulers, dict) else states['']
    for name, optimizer in optimizers_by_name(runner).items():
        stored = checkpoint['optimizer'][name] if name else checkpoint['optimizer']
        for mine, other in zip(optimizer.param_groups, stored['param_groups']):
            other.update({key: value for key, value in mine.items() if key != 'params' and is_plain(value)})


def rates(optimizers: Iterable[Named]) -> str:
    """The learning rate of the first param group of each optimizer, from their state dicts, as text."""
    return ', '.join(f'{optimizer["param_groups"][0]["lr"]:.4g}' for optimizer in optimizers)
