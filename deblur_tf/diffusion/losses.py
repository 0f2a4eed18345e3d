"""Training losses, per example so that callers choose how to average them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

Tensor = Any


def denoising_l1(result: Tensor, wanted: Tensor, width: float = 0.0) -> Tensor:
    """|result - wanted|, mean over pixels (DvSR eq. 5; sec. 3.3 eq. 3).

    In the papers both are noise; in general what `outputs.Output.wanted` says.

    Args:
      result, wanted: [B, H, W, C].
      width: above 0, Charbonnier's sqrt(error^2 + width^2) - width in place of the
        absolute value: quadratic below `width`, so that where the answer is uncertain
        its mean is learned and not its median.

    Returns:
      float32 [B].
    """
    error = ops.cast(result, "float32") - ops.cast(wanted, "float32")
    if not width:
        return ops.mean(ops.abs(error), axis=(1, 2, 3))
    square = error * error
    # The difference of the docstring, without its cancellation.
    return ops.mean(square / (ops.sqrt(square + width * width) + width), axis=(1, 2, 3))


def multiscale_regression(predictions: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """MSE of the predicted sharp structure, mean over scales (sec. 3.3, eq. 2).

    Args:
      predictions: [B, H / 2^k, W / 2^k, C] for each scale.
      targets: the sharp image's structure, of the same shapes.

    Returns:
      float32 [B]. Every scale counts alike, whatever its number of pixels.

    Raises:
      ValueError: if the lists differ in length or are empty.
    """
    if not predictions or len(predictions) != len(targets):
        raise ValueError(
            f"need as many predictions as targets and at least one, got "
            f"{len(predictions)} and {len(targets)}"
        )
    per_scale = [
        ops.mean(ops.square(ops.cast(p, "float32") - t), axis=(1, 2, 3))
        for p, t in zip(predictions, targets, strict=True)
    ]
    return sum(per_scale) / len(per_scale)


def warm_start_weight(step: Tensor, warm_start_steps: int) -> Tensor:
    """Weight of the denoising loss: 0 to 1 over the first steps (sec. 4.2).

    float32 scalar; 1 throughout when `warm_start_steps` is 0.
    """
    step = ops.cast(step, "float32")
    if warm_start_steps <= 0:
        return ops.ones_like(step)
    return ops.minimum(step / warm_start_steps, 1.0)
