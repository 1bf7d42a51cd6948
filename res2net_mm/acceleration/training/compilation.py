"""``torch.compile``, block by block, without PyTorch's limit of compilations."""
from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Iterable, Iterator

import torch

from ...models.layers.bottle2neck import Bottle2neck


def compile_blocks(blocks: Iterable[Bottle2neck], **options: Any) -> None:
    """Have ``torch.compile`` take block by block, those that it has not yet.

    Blocks are alike, while a whole detector changes with every image size.

    Args:
        blocks (Iterable[Bottle2neck]): The blocks.
        **options: Arguments of ``torch.compile``.
    """
    for block in blocks:
        if block._compiled_call_impl is None:
            block.compile(**options)
            block._compiled_call_impl = WithoutLimit(block._compiled_call_impl)


class WithoutLimit:
    """A compiled function that lifts the limit while it runs: it is compiled when it is called.

    Args:
        compiled (Callable): The function.
    """

    def __init__(self, compiled: Any) -> None:
        self.compiled = compiled

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call the function."""
        with many_compilations():
            return self.compiled(*args, **options)


@contextmanager
def many_compilations() -> Iterator[None]:
    """Lift PyTorch's limit of compilations.

    It compiles eight modules of one class, and quietly runs the ninth layer by layer.
    """
    with torch._dynamo.config.patch(cache_size_limit=1000, accumulated_cache_size_limit=1000):
        yield
