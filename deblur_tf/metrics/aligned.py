"""PSNR and SSIM by RealBlur's protocol: genuine pairs are aligned before they are compared.

The sharp picture was taken by another camera, so the restored one is first corrected by the
gain and the homography that fit it best (Rim et al., 2020; their `evaluation_RealBlur_ecc.py`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from deblur_tf.base.errors import DataError, UnavailableError
from deblur_tf.base.registry import configurable
from deblur_tf.metrics.base import PerImage, check, shared
from deblur_tf.metrics.ssim import RADIUS

Measure = Callable[[np.ndarray, np.ndarray], float]

STEPS = 100  # of the search, which does not stop early on small improvements


def align(image: np.ndarray, sharp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Applies the gain and homography that bring a picture nearest to the sharp one.

    Args:
      image: uint8 [H, W, 3].
      sharp: uint8 [H, W, 3].

    Returns:
      The aligned picture, float32 [H, W, 3] in [0, 1] or a little beyond, and the mask
      [H, W, 3]: 1.0 where it has a value, 0.0 elsewhere.

    Raises:
      DataError: if the search finds no homography, as between unrelated pictures.
    """
    import cv2

    check(image, sharp)
    x, z = (a.astype(np.float32) / 255.0 for a in (sharp, image))
    z = z * (np.sum(x * z) / max(np.sum(z * z), 1e-12))
    grays = [cv2.cvtColor(a, cv2.COLOR_RGB2GRAY) for a in (x, z)]
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, STEPS, 0)
    try:
        _, warp = cv2.findTransformECC(  # type: ignore[call-overload]
            *grays, np.eye(3, dtype=np.float32), cv2.MOTION_HOMOGRAPHY, criteria, None, 5
        )
    except cv2.error as error:
        raise DataError("no homography aligns a picture with the sharp one") from error
    size = x.shape[1::-1]
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    moved = cv2.warpPerspective(z, warp, size, flags=flags, borderMode=cv2.BORDER_REFLECT)
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    mask = cv2.warpPerspective(np.ones_like(z), warp, size, flags=flags)
    return moved, mask


_align = shared(align)


def psnr_aligned(image: np.ndarray, sharp: np.ndarray) -> float:
    """PSNR in dB over the pixels that are valid after alignment; uint8 [H, W, 3] each."""
    moved, mask = _align(image, sharp)
    x = np.float32(sharp) / 255.0
    mse = np.sum(np.square((x - moved) * mask), dtype=np.float64) / np.sum(mask, dtype=np.float64)
    return float("inf") if mse == 0 else float(10 * np.log10(1.0 / mse))


def ssim_aligned(image: np.ndarray, sharp: np.ndarray) -> float:
    """SSIM (2-D, each channel) over the pixels that are valid after alignment.

    uint8 [H, W, 3] each, at least 11x11. Raises DataError as `align` does, like `psnr_aligned`.
    """
    from skimage.metrics import structural_similarity

    moved, mask = _align(image, sharp)
    # Both pictures are zero where the mask is, as in RealBlur's script: windows across its border
    # see the same border in both.
    x, moved = mask * (np.float32(sharp) / 255.0), mask * moved
    values = structural_similarity(
        x,
        moved,
        data_range=1.0,
        channel_axis=-1,
        gaussian_weights=True,
        use_sample_covariance=False,
        full=True,
    )[1]
    inner = slice(RADIUS, -RADIUS)
    values, mask = (values * mask)[inner, inner], mask[inner, inner]
    return float(np.mean(values.sum((0, 1), np.float64) / mask.sum((0, 1), np.float64)))


def _metric(name: str, label: str, digits: int, measure: Measure) -> PerImage:
    try:
        import cv2
    except ModuleNotFoundError as error:
        raise UnavailableError("needs OpenCV; pip install 'deblur-tf[realblur]'") from error
    about = {"opencv": cv2.__version__}
    return PerImage(name, label, digits, measure, min_side=2 * RADIUS + 1, about=about)


@configurable
def aligned_psnr(weights: object = None) -> PerImage:
    """`psnr_aligned` as a metric; it needs no weights.

    Raises:
      UnavailableError: if OpenCV is not installed. So does `aligned_ssim`.
    """
    del weights
    return _metric("psnr_aligned", "PSNR aligned (dB)", 2, psnr_aligned)


@configurable
def aligned_ssim(weights: object = None) -> PerImage:
    """`ssim_aligned` as a metric; it needs no weights."""
    del weights
    return _metric("ssim_aligned", "SSIM aligned", 4, ssim_aligned)
