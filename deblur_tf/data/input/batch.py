"""The common form of training batches on all backends."""

from __future__ import annotations

from typing import Any, NamedTuple


class Batch(NamedTuple):
    """Pairs of one optimizer step, or of several along a leading axis.

    Attributes:
      blurry, sharp: uint8 [B, crop, crop, 3] in [0, 255].
      item: int32 [B], row of each pair in the global batch.
    """

    blurry: Any
    sharp: Any
    item: Any
