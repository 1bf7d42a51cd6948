"""A table of what is prepared for sizes of images that come again."""
from __future__ import annotations

import threading
from typing import Any, Callable, Hashable

MOST_SIZES = 8  # detectors see hundreds of sizes; with a limit and replacement they would prepare again and again
MOST_SEEN = 1000  # sizes that are remembered as seen once


class PreparedSizes:
    """A table of what is prepared for a size when it comes for the second time.

    It has room for the first :data:`MOST_SIZES` such sizes. Several threads may use it. A copy, and what is read from a
    pickle, is empty: what was prepared is for the original.
    """

    def __init__(self) -> None:
        self.seen: set[Hashable] = set()
        self.prepared: dict[Hashable, Any] = {}
        self.lock = threading.RLock()

    def __len__(self) -> int:
        return len(self.prepared)

    def __reduce__(self) -> tuple[type[PreparedSizes], tuple]:
        return PreparedSizes, ()

    def get(self, size: Hashable, prepare: Callable[[], Any], default: Any = None) -> Any:
        """Look up a size, and count that it came.

        Args:
            size (Hashable): The size.
            prepare (Callable): What prepares for it; called when it comes for the second time.
            default (Any): What is returned if nothing is prepared for the size. Defaults to None.

        Returns:
            Any: What is prepared for it, or the default.
        """
        with self.lock:
            if size not in self.prepared and len(self.prepared) < MOST_SIZES:
                if size in self.seen:
                    self.prepared[size] = prepare()
                elif len(self.seen) < MOST_SEEN:
                    self.seen.add(size)
            return self.prepared.get(size, default)
