"""The interface of metrics. Each metric is one module, whatever it is computed from."""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class PerImage:
    """A metric with a value for each picture; the value of a test set is their mean.

    Attributes:
      name: name of its column in files, e.g. "psnr".
      label: heading of its column in tables, with the unit.
      digits: digits after the decimal point in tables.
      measure: (picture, sharp) -> value, uint8 [H, W, 3] each.
      min_side: smallest side of a picture that it can measure, in pixels.
      reference: whether it compares with the sharp picture; a metric that does not is
        also measured on the sharp pictures.
      about: options and checksums of weights, for the report.
    """

    name: str
    label: str
    digits: int
    measure: Callable[[np.ndarray, np.ndarray], float]
    min_side: int = 1
    reference: bool = True
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Features:
    """Features of pictures, as a metric of whole sets compares them.

    Attributes:
      name: name of the folder where the features are stored.
      of: computes the features of a picture: uint8 [H, W, 3] -> float32 [N, D]; N may
        differ between pictures.
      about: as in `PerImage`.
    """

    name: str
    of: Callable[[np.ndarray], np.ndarray]
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class SetMetric:
    """A distance between a set of pictures and the set of the sharp ones.

    Attributes:
      features: the features that are compared; metrics that share them compute them once.
      distance: distance of two sets, each a sequence of results of `Features.of`. An item
        is read only when it is indexed, so that a set of any size can be streamed.
      patch: height and width of the patches that features are computed from; a picture
        must be at least as large.
      The other attributes are as in `PerImage`.
    """

    name: str
    label: str
    digits: int
    features: Features
    distance: Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], float]
    patch: tuple[int, int] = (1, 1)
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def min_side(self) -> int:
        """The smaller side of a patch."""
        return min(self.patch)

    def fits(self, height: int, width: int) -> bool:
        """Whether a picture of this size contains a whole patch."""
        return height >= self.patch[0] and width >= self.patch[1]


Metric = PerImage | SetMetric


def check(*images: np.ndarray) -> None:
    """Raises ValueError unless all are uint8 [H, W, C] of one shape."""
    for image in images:
        if image.dtype != np.uint8 or image.ndim != 3:
            raise ValueError(f"need uint8 [H, W, C] images, got {image.dtype} {image.shape}")
        if image.shape != images[0].shape:
            raise ValueError(f"images differ in shape: {images[0].shape} and {image.shape}")


def shared(compute: Callable[..., Any]) -> Callable[..., Any]:
    """Caches the last result in each thread, for metrics that share their first step.

    The result is reused if all arguments are the same objects: they must not be modified.
    """
    last = threading.local()

    @functools.wraps(compute)
    def wrapped(*args: Any) -> Any:
        known = getattr(last, "args", ())
        if len(known) != len(args) or any(a is not b for a, b in zip(known, args, strict=True)):
            last.args, last.value = (), None  # frees the previous result
            last.value = compute(*args)
            last.args = args
        return last.value

    return wrapped
