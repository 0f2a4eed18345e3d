"""Types that every module names."""

from __future__ import annotations

from typing import Any

# A tensor of the backend in use, or a NumPy array.
Tensor = Any
# None where a size is not known.
Shape = tuple[int | None, ...]
# Real and imaginary part.
Pair = tuple[Tensor, Tensor]
