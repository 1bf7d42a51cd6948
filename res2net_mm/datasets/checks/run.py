"""The checks of a run that is built, one after another."""
from __future__ import annotations

from typing import Sequence

from .batches import check_batches
from .built import BuiltModel, BuiltSplit
from .heads import check_heads
from .images import check_images
from .masks import check_masks
from .metrics import check_metrics
from .problems import BadDataError, report

SPLIT_CHECKS = (check_images, check_masks)  # of one split each
MODEL_CHECKS = (check_heads, check_metrics, check_batches)  # of the model and all splits


def check_splits(splits: Sequence[BuiltSplit], model: BuiltModel | None = None) -> None:
    """Check what a run is about to use, and log what is no error.

    Args:
        splits (Sequence[BuiltSplit]): Its splits.
        model (BuiltModel | None): Its model. Defaults to None: the data are checked alone.

    Raises:
        BadDataError: If a score would be wrong, or the run would end in an error.
    """
    from mmengine.dist import get_rank
    first = get_rank() == 0
    problems = [problem for split in splits for check in SPLIT_CHECKS for problem in check(split)]
    if model is not None:
        problems += [problem for check in MODEL_CHECKS for problem in check(model, splits)]
    try:
        report(problem for problem in problems if first or problem.fatal)  # all processes find the same
    except BadDataError as error:
        error.is_repeated = not first
        raise
