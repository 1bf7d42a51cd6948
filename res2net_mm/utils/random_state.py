"""The random numbers of a process: their state, in a form that checkpoints can hold."""
from __future__ import annotations

import random
from contextlib import contextmanager
from typing import Any, Dict, Iterator

import numpy as np

RandomState = Dict[str, Any]


def random_state() -> RandomState:
    """The state of all generators of random numbers that training draws from.

    Returns:
        dict: Numbers, tuples and tensors only, so that ``torch.load(weights_only=True)`` reads it: 'python', 'numpy',
        'torch' and, where a GPU is in use, 'cuda' with the state of each.
    """
    import torch
    kind, keys, *position = np.random.get_state()
    state = dict(
        python=random.getstate(),
        numpy=(kind, torch.from_numpy(keys.astype(np.int64)), *position),
        torch=torch.get_rng_state())
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state['cuda'] = torch.cuda.get_rng_state_all()
    return state


def set_random_state(state: RandomState) -> None:
    """Go on with the random numbers of an earlier process.

    Args:
        state (dict): What ``random_state`` returned, with its tensors on any device. Where the number of GPUs is
            another now, theirs is left as it is.
    """
    import torch
    random.setstate(state['python'])
    kind, keys, *position = state['numpy']
    np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), *position))
    torch.set_rng_state(state['torch'].cpu())
    if len(state.get('cuda', ())) == torch.cuda.device_count() > 0:
        torch.cuda.set_rng_state_all([gpu.cpu() for gpu in state['cuda']])


@contextmanager
def same_random_numbers() -> Iterator[None]:
    """Give the random numbers after the block that would have come without it."""
    state = random_state()
    try:
        yield
    finally:
        set_random_state(state)
