"""Figures of quality: `base` has the contract, each other module is of one kind."""

from __future__ import annotations

from collections.abc import Sequence

from deblur_tf.errors import UsageError
from deblur_tf.metrics.base import Metric, PerImage
from deblur_tf.metrics.reference import PSNR, SSIM, SSIM_MATLAB

ALL: tuple[Metric, ...] = (PSNR, SSIM, SSIM_MATLAB)

__all__ = ["ALL", "PSNR", "SSIM", "SSIM_MATLAB", "Metric", "PerImage", "choose"]


def choose(names: Sequence[str]) -> tuple[Metric, ...]:
    """Metrics of `ALL` by name, in the order of the names.

    Raises:
      UsageError: listing what there is, if one is unknown.
    """
    by_name = {metric.name: metric for metric in ALL}
    for name in names:
        if name not in by_name:
            raise UsageError(f"no metric {name!r}; there are {', '.join(by_name)}")
    return tuple(by_name[name] for name in names)
