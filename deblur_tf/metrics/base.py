"""The contract of a metric: a metric is one file, whatever it is computed from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Literal, Protocol

import numpy as np


class Tally(Protocol):
    """A metric over the pictures of a test set, one at a time: none is kept."""

    def add(self, image: np.ndarray, sharp: np.ndarray) -> float | None:
        """Takes a picture and the true one, uint8 [H, W, 3] each.

        Returns its value, or None where only whole sets have one.
        """

    def result(self) -> float:
        """The value of the set so far; NaN for none."""


class Metric(Protocol):
    """What is measured.

    Attributes:
      name: of its column in files, e.g. "psnr".
      label: of its column in tables, with the unit.
      digits: after the point in tables.
      better: which way is an improvement.
      min_side: smallest side of a picture that it can measure, in pixels.
      needs: what must be there to compute it, in words; "" for nothing.
    """

    name: str
    label: str
    digits: int
    better: Literal["higher", "lower"]
    min_side: int
    needs: str

    def start(self) -> Tally:
        """An empty tally."""


@dataclasses.dataclass(frozen=True)
class PerImage:
    """A metric that each picture has, and a set the mean of.

    Attributes:
      measure: (image, sharp) -> value, uint8 [H, W, 3] each; one without a reference
        leaves the second alone.
    """

    name: str
    label: str
    digits: int
    measure: Callable[[np.ndarray, np.ndarray], float]
    better: Literal["higher", "lower"] = "higher"
    min_side: int = 1
    needs: str = ""

    def start(self) -> Mean:
        """See `Metric.start`."""
        return Mean(self.measure)


class Mean:
    """The `Tally` of `PerImage`."""

    def __init__(self, measure: Callable[[np.ndarray, np.ndarray], float]):
        self.measure = measure
        self._values: list[float] = []

    def add(self, image: np.ndarray, sharp: np.ndarray) -> float:
        """See `Tally.add`."""
        value = self.measure(image, sharp)
        self.count(value)
        return value

    def count(self, value: float) -> None:
        """Takes a value that was measured before."""
        self._values.append(value)

    def result(self) -> float:
        """See `Tally.result`."""
        return math.fsum(self._values) / len(self._values) if self._values else math.nan
