"""The one form in which training gets its batches, on every backend."""

from __future__ import annotations

from typing import Any, NamedTuple


class Batch(NamedTuple):
    """Pairs of one optimizer step, or of several along a leading axis.

    Attributes:
      blurry, sharp: uint8 [B, crop, crop, 3] in [0, 255].
      item: int32 [B], each pair's row in the global batch.
    """

    blurry: Any
    sharp: Any
    item: Any
