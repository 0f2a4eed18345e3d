"""Type aliases used throughout the package."""

from __future__ import annotations

from typing import Any

# A tensor of the backend in use, or a NumPy array.
Tensor = Any
# Sizes: numbers, None where one is not known, tensors inside a graph.
Shape = tuple[Any, ...]
# Real and imaginary parts.
ComplexParts = tuple[Tensor, Tensor]
