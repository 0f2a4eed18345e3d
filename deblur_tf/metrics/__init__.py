"""Image quality metrics: `base` defines their interface, each other module one kind."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence

import gin

from deblur_tf.base.errors import UnavailableError, UsageError
from deblur_tf.metrics.base import Features, Metric, PerImage, SetMetric
from deblur_tf.metrics.psnr import PSNR
from deblur_tf.metrics.ssim import SSIM, SSIM_MATLAB

# ALL: metrics that need neither weights nor extra packages. MADE: of each other metric the module,
# gin-configured function and arguments that make it.
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
    "SetMetric",
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
      names: names of metrics in `ALL` or `MADE`.
      weights: folder of metric weights, searched before the other folders of
        `weights.folders`.
      on_missing: called with the name of each metric that lacks weights or a package, and
        the reason; the metric is left out.

    Raises:
      UsageError: if a name is unknown; the message lists the known ones.
      UnavailableError: if a metric lacks weights or a package and `on_missing` is None.
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
            why = str(error).split("\n  In call to configurable")[0]  # gin appends that part
            if on_missing is None:
                raise UnavailableError(f"{name}: {why}") from error
            on_missing(name, why)
    return tuple(found)


def _made(name: str, weights: str | os.PathLike[str] | None) -> Metric:
    module, function, *arguments = MADE[name]
    make = getattr(importlib.import_module(f"{__name__}.{module}"), function)
    return gin.get_configurable(make)(*arguments, weights=weights)
