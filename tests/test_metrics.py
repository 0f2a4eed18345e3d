"""Fixtures with known values: closed forms and MATLAB-verified figures."""

import math

import numpy as np
import pytest

from deblur_tf.metrics.reference import psnr, ssim, ssim_matlab


def seeded_pair():
    rng = np.random.default_rng(1234)
    a = rng.integers(0, 256, (48, 64, 3)).astype(np.uint8)
    b = np.clip(a + rng.integers(-30, 31, a.shape), 0, 255).astype(np.uint8)
    return a, b


def flat(value):
    return np.full((16, 16, 3), value, np.uint8)


def test_psnr_closed_forms():
    assert psnr(flat(100), flat(101)) == pytest.approx(20 * math.log10(255), abs=1e-9)
    assert psnr(flat(9), flat(9)) == math.inf


def test_seeded_values():
    a, b = seeded_pair()
    assert psnr(a, b) == pytest.approx(23.4952255098, abs=1e-9)
    assert ssim_matlab(a, b) == pytest.approx(0.9732176990, abs=1e-9)
    assert ssim(a, b) == pytest.approx(0.9726886211, abs=1e-9)


def test_ssim_of_constant_images():
    c1 = (0.01 * 255) ** 2
    want = (2 * 100 * 120 + c1) / (100**2 + 120**2 + c1)
    assert ssim_matlab(flat(100), flat(120)) == pytest.approx(want, abs=1e-12)
    assert ssim(flat(100), flat(120)) == pytest.approx(want, abs=1e-12)


def test_real_photo_under_gaussian_blur(photos):
    from scipy.ndimage import gaussian_filter

    sharp = photos[0]
    smooth = gaussian_filter(sharp.astype(np.float64), (1, 1, 0))
    blurry = np.round(np.clip(smooth, 0, 255)).astype(np.uint8)
    assert psnr(sharp, blurry) == pytest.approx(29.590001, abs=1e-5)
    assert ssim_matlab(sharp, blurry) == pytest.approx(0.961966, abs=1e-5)
    assert ssim(sharp, blurry) == pytest.approx(0.924600, abs=1e-5)


@pytest.mark.parametrize("metric", [psnr, ssim, ssim_matlab])
def test_wrong_images_are_refused(metric):
    with pytest.raises(ValueError, match="uint8"):
        metric(flat(1).astype("float32"), flat(1))
    with pytest.raises(ValueError, match="shape"):
        metric(flat(1), flat(1)[:8])
