"""Figures of quality: `base` has the contract, each other module is of one kind."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence

import gin

from deblur_tf.base.errors import UnavailableError, UsageError
from deblur_tf.metrics.base import Features, Metric, OfSets, PerImage
from deblur_tf.metrics.psnr import PSNR
from deblur_tf.metrics.ssim import SSIM, SSIM_MATLAB

# Those that need nothing; and module, gin-configured function and arguments of the others.
ALL: tuple[PerImage, ...] = (PSNR, SSIM, SSIM_MATLAB)
MADE = {
    "psnr_aligned": ("aligned", "aligned_psnr"),
    "ssim_aligned": ("aligned", "aligned_ssim"),
    "lpips_alex": ("lpips", "lpips", "alex"),
    "lpips_vgg": ("lpips", "lpips", "vgg"),
    "niqe": ("niqe", "niqe"),
    "fid": ("fid", "fid"),
    "kid": ("fid", "kid"),
}

__all__ = [
    "ALL",
    "PSNR",
    "SSIM",
    "SSIM_MATLAB",
    "Features",
    "Metric",
    "OfSets",
    "PerImage",
    "choose",
]


def choose(
    names: Sequence[str],
    weights: str | os.PathLike[str] | None = None,
    on_missing: Callable[[str, str], None] | None = None,
) -> tuple[Metric, ...]:
    """Metrics by name, in the order of the names.

    Args:
      names: of `ALL` and `MADE`.
      weights: folder of metric weights, searched before the others of `weights.folders`.
      on_missing: told the name of a metric that lacks weights or a package and is left
        out, and why.

    Raises:
      UsageError: listing what there is, if one is unknown.
      UnavailableError: without `on_missing`.
    """
    ready = {metric.name: metric for metric in ALL}
    for name in names:
        if name not in ready and name not in MADE:
            raise UsageError(f"no metric {name!r}; there are {', '.join((*ready, *MADE))}")
    found: list[Metric] = []
    for name in names:
        try:
            found.append(ready[name] if name in ready else _made(name, weights))
        except UnavailableError as error:
            why = str(error).split("\n  In call to configurable")[0]  # gin adds that
            if on_missing is None:
                raise UnavailableError(f"{name}: {why}") from error
            on_missing(name, why)
    return tuple(found)


def _made(name: str, weights: str | os.PathLike[str] | None) -> Metric:
    module, function, *arguments = MADE[name]
    make = getattr(importlib.import_module(f"{__name__}.{module}"), function)
    return gin.get_configurable(make)(*arguments, weights=weights)
