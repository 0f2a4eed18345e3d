"""The contract of a metric: a metric is one file, whatever it is computed from."""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

Better = Literal["higher", "lower"]


@dataclasses.dataclass(frozen=True)
class PerImage:
    """A metric that each picture has, and a test set the mean of.

    Attributes:
      name: of its column in files, e.g. "psnr".
      label: of its column in tables, with the unit.
      digits: after the point in tables.
      measure: (picture, sharp) -> value, uint8 [H, W, 3] each.
      better: which way is an improvement.
      min_side: smallest side of a picture that it can measure, in pixels.
      reference: whether it looks at the sharp picture; one that does not is measured
        of the sharp pictures too.
      about: options and checksums of weights, for the report.
    """

    name: str
    label: str
    digits: int
    measure: Callable[[np.ndarray, np.ndarray], float]
    better: Better = "higher"
    min_side: int = 1
    reference: bool = True
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Features:
    """What is known of a picture to a metric of whole sets.

    Attributes:
      name: of the folder where they are kept.
      of: uint8 [H, W, 3] -> float32 [N, D]; N may differ between pictures.
      about: as in `PerImage`.
    """

    name: str
    of: Callable[[np.ndarray], np.ndarray]
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class OfSets:
    """A distance between a set of pictures and the set of the sharp ones.

    Attributes:
      features: of a picture; metrics that share them compute them once.
      distance: of two sets, each a sequence of `Features.of`, which reads an item when
        it is asked for, so that a set of any size can be streamed.
      patch: height and width of what features are of: the smallest picture.
      The others are those of `PerImage`.
    """

    name: str
    label: str
    digits: int
    features: Features
    distance: Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], float]
    patch: tuple[int, int] = (1, 1)
    better: Better = "lower"
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def min_side(self) -> int:
        """The smaller side of a patch."""
        return min(self.patch)

    def fits(self, height: int, width: int) -> bool:
        """Whether a picture has a patch."""
        return height >= self.patch[0] and width >= self.patch[1]


Metric = PerImage | OfSets


def check(*images: np.ndarray) -> None:
    """Raises ValueError unless all are uint8 [H, W, C] of one shape."""
    for image in images:
        if image.dtype != np.uint8 or image.ndim != 3:
            raise ValueError(f"need uint8 [H, W, C] images, got {image.dtype} {image.shape}")
        if image.shape != images[0].shape:
            raise ValueError(f"images differ in shape: {images[0].shape} and {image.shape}")


def shared(compute: Callable[..., Any]) -> Callable[..., Any]:
    """Keeps the last result in each thread, for metrics that begin alike.

    Found again by the identity of the arguments: they must not be written to.
    """
    last = threading.local()

    @functools.wraps(compute)
    def wrapped(*args: Any) -> Any:
        known = getattr(last, "args", ())
        if len(known) != len(args) or any(a is not b for a, b in zip(known, args, strict=True)):
            last.args, last.value = (), None  # frees the one before
            last.value = compute(*args)
            last.args = args
        return last.value

    return wrapped
