"""A table of what is prepared for sizes of images that come again."""
from __future__ import annotations

from typing import Any, Callable, Hashable

MOST_SIZES = 8  # detectors see hundreds of sizes; with a limit and replacement they would prepare again and again


class PreparedSizes:
    """A table of what is prepared for a size when it comes for the second time.

    It has room for the first :data:`MOST_SIZES` such sizes.
    """

    def __init__(self) -> None:
        self.seen: set[Hashable] = set()
        self.prepared: dict[Hashable, Any] = {}

    def __len__(self) -> int:
        return len(self.prepared)

    def get(self, size: Hashable, prepare: Callable[[], Any], default: Any = None) -> Any:
        """Look up a size, and count that it came.

        Args:
            size (Hashable): The size.
            prepare (Callable): What prepares for it; called when it comes for the second time.
            default (Any): What is returned if nothing is prepared for the size. Defaults to None.

        Returns:
            Any: What is prepared for it, or the default.
        """
        if size in self.seen and size not in self.prepared and len(self.prepared) < MOST_SIZES:
            self.prepared[size] = prepare()
        self.seen.add(size)
        return self.prepared.get(size, default)
