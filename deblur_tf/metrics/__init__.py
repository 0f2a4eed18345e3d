"""Figures of quality: `base` has the contract, each other module is of one kind."""

from __future__ import annotations

from collections.abc import Sequence

from deblur_tf.metrics import base
from deblur_tf.metrics.base import Metric, PerImage
from deblur_tf.metrics.reference import PSNR, SSIM, SSIM_MATLAB

ALL: tuple[Metric, ...] = (PSNR, SSIM, SSIM_MATLAB)

__all__ = ["ALL", "PSNR", "SSIM", "SSIM_MATLAB", "Metric", "PerImage", "choose"]


def choose(names: Sequence[str]) -> tuple[Metric, ...]:
    """Metrics of `ALL` by name; see `base.choose`."""
    return base.choose(names, ALL)
