"""Training losses, per example so that callers choose how to average them."""

from __future__ import annotations

from collections.abc import Sequence

from keras import ops

from deblur_tf.base.registry import configurable
from deblur_tf.base.types import Tensor


@configurable
def denoising_l1(result: Tensor, wanted: Tensor) -> Tensor:
    """|result - wanted|, mean over pixels (DvSR eq. 5; sec. 3.3 eq. 3).

    In the papers both are noise; in general `wanted` comes from `outputs.Output.training_target`.
    [B, H, W, C], [B, H, W, C] -> float32 [B].
    """
    return ops.mean(ops.abs(_error(result, wanted)), axis=(1, 2, 3))


@configurable
def charbonnier(result: Tensor, wanted: Tensor, width: float = 0.5) -> Tensor:
    """sqrt(error^2 + width^2) - width, mean over pixels.

    Quadratic for errors below `width`, so that where the answer is uncertain its mean rather
    than its median is learned; L1 above. Shapes as for `denoising_l1`.
    """
    square = ops.square(_error(result, wanted))
    # The same difference, rearranged to avoid cancellation.
    return ops.mean(square / (ops.sqrt(square + width * width) + width), axis=(1, 2, 3))


@configurable
def mse(result: Tensor, wanted: Tensor) -> Tensor:
    """(result - wanted)^2, mean over pixels. Shapes as for `denoising_l1`."""
    return ops.mean(ops.square(_error(result, wanted)), axis=(1, 2, 3))


@configurable
def log_mse(result: Tensor, wanted: Tensor, floor: float = 1e-3) -> Tensor:
    """log(MSE + floor) / 2: the PSNR of each image, up to sign and scale.

    Relative changes of the error weigh the same in every image: nearly sharp images must not
    get worse, and images beyond repair do not dominate the loss. Used for restoration by
    Chen et al. (HINet, 2021). Shapes as for `denoising_l1`.
    """
    return 0.5 * ops.log(mse(result, wanted) + floor)


def _error(result: Tensor, wanted: Tensor) -> Tensor:
    return ops.cast(result, "float32") - ops.cast(wanted, "float32")


def multiscale_regression(predictions: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """MSE of the predicted sharp structure, mean over scales (icDPM sec. 3.3, eq. 2).

    Args:
      predictions: [B, H / 2^k, W / 2^k, C] for each scale.
      targets: the sharp image's structure, of the same shapes.

    Returns:
      float32 [B]. Every scale has equal weight, whatever its number of pixels.

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
    """Weight of the denoising loss: rises from 0 to 1 over the first steps (icDPM sec. 4.2).

    float32 scalar; 1 throughout when `warm_start_steps` is 0.
    """
    step = ops.cast(step, "float32")
    if warm_start_steps <= 0:
        return ops.ones_like(step)
    return ops.minimum(step / warm_start_steps, 1.0)
