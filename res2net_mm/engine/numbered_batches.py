"""The batches of a run by number, so that a resumed run goes on with the batch, and the augmentation, that was next."""
from __future__ import annotations

import random
from typing import Any, Callable, Iterable, Iterator

import numpy as np
import torch
from torch.utils.data import DataLoader, get_worker_info


class NumberedBatches:
    """The batch sampler of a loader, whose batches know their number in the run.

    A process that loads data draws its random numbers anew for each batch, from the seed and the number of the batch.
    So they depend neither on how many such processes there are, nor on what one of them has loaded before, and a
    resumed run has the augmentation of a run without a break. (mmengine seeds such processes when they start: a resumed
    run starts them at another batch.) Without such processes nothing is seeded: the main process's state is saved.

    Args:
        batches (Iterable[list]): The batch sampler; its attributes are those of this one, too.
        seed (int): The seed of the run.
        rank (int): The process of the run. Defaults to 0.

    Attributes:
        number (int): The number in the run of the batch that comes next.
        on_pass (Callable[[int], None]): Called with the number of a pass over the dataset that ``skip`` comes to.
    """

    def __init__(self, batches: Iterable[list], seed: int, rank: int = 0) -> None:
        self.batches = batches
        self.seed = seed
        self.rank = rank
        self.number = 0
        self.on_pass: Callable[[int], None] = lambda number: None
        self.trained = 0  # batches to leave out

    def skip(self, count: int) -> None:
        """Leave out the next ``count`` batches, which were trained on before; nothing of them is loaded."""
        self.trained = count

    def __iter__(self) -> Iterator[SeededBatch]:
        trained, self.trained = self.trained, 0
        for indices in self._from(trained):
            yield SeededBatch(indices, (self.seed, self.rank, self.number))
            self.number += 1

    def _from(self, start: int) -> Iterator[list]:
        """The batches from number ``start`` on, through as many passes over the dataset as come before."""
        passes = 0
        while True:
            left_out = start
            for indices in self.batches:
                if start == 0:
                    yield indices
                else:
                    start -= 1
            if start in (0, left_out):  # at the end, or without any batch at all
                return
            passes += 1
            self.on_pass(passes)

    def __len__(self) -> int:
        return len(self.batches)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        if name == 'batches':  # of an empty copy, which pickle is about to fill
            raise AttributeError(name)
        return getattr(self.batches, name)


class SeededBatch(list):
    """The indices of a batch. Before a process that loads data reads the first, it seeds its random numbers.

    Args:
        indices (Iterable[int]): The indices.
        entropy (tuple[int]): What the seed is made of.
    """

    def __init__(self, indices: Iterable[int], entropy: tuple[int, ...]) -> None:
        super().__init__(indices)
        self.entropy = entropy

    def __iter__(self) -> Iterator[int]:
        if get_worker_info() is not None:
            seed = int(np.random.SeedSequence(self.entropy).generate_state(1)[0])
            random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)
        return super().__iter__()

    def __reduce__(self) -> tuple:
        return SeededBatch, (list(super().__iter__()), self.entropy)


def number_batches(loader: DataLoader, seed: int, rank: int = 0) -> NumberedBatches | None:
    """Put NumberedBatches in the place of a loader's batch sampler.

    Args:
        loader (DataLoader): The loader, changed in place. Its own draws, a seed for each pass, are taken from a
            generator that belongs to it, not from the random numbers of training.
        seed (int): The seed of the run.
        rank (int): The process of the run. Defaults to 0.

    Returns:
        NumberedBatches | None: None if the loader has no batch sampler, as with batches that the dataset makes.
    """
    loader.generator = torch.Generator().manual_seed(seed)
    if loader.batch_sampler is None:
        return None
    if not isinstance(loader.batch_sampler, NumberedBatches):
        # Past the loader's own __setattr__, which refuses because the size of a batch could change; here it does not.
        vars(loader)['batch_sampler'] = NumberedBatches(loader.batch_sampler, seed, rank)
    return loader.batch_sampler
