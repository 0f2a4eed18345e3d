"""Fixtures with known values: closed forms and MATLAB-verified figures."""

import math

import numpy as np
import pytest
import skimage.metrics
from scipy import ndimage

from deblur_tf import metrics
from deblur_tf.base.errors import UnavailableError
from deblur_tf.metrics.aligned import align, psnr_aligned, ssim_aligned
from deblur_tf.metrics.base import shared
from deblur_tf.metrics.patches import patches
from deblur_tf.metrics.psnr import psnr
from deblur_tf.metrics.ssim import ssim, ssim_matlab


def seeded_pair():
    rng = np.random.default_rng(1234)
    a = rng.integers(0, 256, (48, 64, 3)).astype(np.uint8)
    b = np.clip(a + rng.integers(-30, 31, a.shape), 0, 255).astype(np.uint8)
    return a, b


def flat(value):
    return np.full((16, 16, 3), value, np.uint8)


def test_psnr_closed_forms():
    assert psnr(flat(100), flat(101)) == pytest.approx(48.1308036086791, abs=1e-9)
    assert psnr(flat(9), flat(9)) == math.inf


def test_seeded_values():
    a, b = seeded_pair()
    assert psnr(a, b) == pytest.approx(23.4952255098, abs=1e-9)
    assert ssim_matlab(a, b) == pytest.approx(0.9732176990, abs=1e-9)
    assert ssim(a, b) == pytest.approx(0.9726886211, abs=1e-9)


def test_ssim_of_constant_images():
    want = 0.9836109249983688
    assert ssim_matlab(flat(100), flat(120)) == pytest.approx(want, abs=1e-12)
    assert ssim(flat(100), flat(120)) == pytest.approx(want, abs=1e-12)


def test_ssim_is_that_of_scikit_image():
    a, b = seeded_pair()
    found = skimage.metrics.structural_similarity(
        a,
        b,
        data_range=255,
        channel_axis=-1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert ssim(a, b) == pytest.approx(found, abs=1e-12)


def test_of_a_gray_picture_three_dimensions_are_two():
    """Replicated channels: the third axis of the window has no effect."""
    gray = [x[..., :1] for x in seeded_pair()]
    three = ssim_matlab(*(np.repeat(x, 3, axis=-1) for x in gray))
    assert three == pytest.approx(ssim_matlab(*gray), abs=1e-12)


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


def test_what_metrics_share_is_computed_once_for_the_same_pictures():
    calls = []
    counted = shared(lambda a, b: calls.append(1) or a + b)
    one, two = np.ones(2), np.ones(2)
    assert counted(one, two) is counted(one, two)
    counted(two, one)
    assert len(calls) == 2
    for metric in (metrics.SSIM, metrics.SSIM_MATLAB):
        a, b = seeded_pair()
        plain = {"ssim": ssim, "ssim_matlab": ssim_matlab}[metric.name]
        assert metric.measure(a, b) == plain(a, b)


def test_alignment_takes_gain_and_shift_away(photos):
    """A darker picture, shifted by a fraction of a pixel: as sharp as the other."""
    cv2 = pytest.importorskip("cv2")
    sharp = photos[0][100:300, 100:340]
    warp = np.array([[1, 0.002, 1.6], [-0.001, 1, -0.7], [0, 0, 1]], np.float32)
    moved = cv2.warpPerspective(0.8 * np.float32(sharp), warp, (240, 200), flags=cv2.INTER_CUBIC)
    moved = np.uint8(np.clip(np.round(moved), 0, 255))
    assert psnr(moved, sharp) < 20
    assert psnr_aligned(moved, sharp) > 32
    assert ssim_aligned(moved, sharp) > 0.97
    _, mask = align(moved, sharp)
    assert 0.97 < mask.mean() < 1.0


def test_alignment_leaves_an_equal_picture_alone(photos):
    pytest.importorskip("cv2")
    sharp = photos[0][:96, :128]
    assert psnr_aligned(sharp, sharp) > 60
    assert ssim_aligned(sharp, sharp) == pytest.approx(1.0, abs=1e-4)
    black = np.zeros_like(sharp)
    with pytest.raises(ValueError, match="no homography"):
        psnr_aligned(black, sharp)


def test_patches_of_the_papers():
    image = np.arange(720 * 1280 * 3, dtype=np.int64).reshape(720, 1280, 3)
    found = patches(image)
    assert found.shape == (15, 240, 256, 3)
    rows = [np.concatenate(list(found[i : i + 5]), axis=1) for i in (0, 5, 10)]
    np.testing.assert_array_equal(np.concatenate(rows), image)
    assert 1111 * len(found) == 16665
    assert patches(np.zeros((680, 773, 3))).shape == (6, 240, 256, 3)
    with pytest.raises(ValueError, match="no patch of 256x240 in 100x300"):
        patches(np.zeros((300, 100, 3)))


@pytest.mark.parametrize("name", ["lpips_alex", "lpips_vgg", "niqe", "fid", "kid"])
def test_missing_weights_say_where_they_were_sought_and_how_they_are_made(
    name, tmp_path, monkeypatch
):
    monkeypatch.setenv("DEBLUR_TF_WEIGHTS", str(tmp_path / "variable"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    missing = []
    found = metrics.choose(
        ["psnr", name, "ssim"], tmp_path / "flag", lambda *args: missing.append(args)
    )
    assert [m.name for m in found] == ["psnr", "ssim"]
    ((who, message),) = missing
    assert who == name
    assert "configurable" not in message
    for part in ("flag", "variable", "home/.cache/deblur_tf"):
        assert str(tmp_path / part) in message
    assert "deblur-weights" in message
    with pytest.raises(UnavailableError, match=f"{name}: no weights"):
        metrics.choose([name], tmp_path)


def test_aligned_ssim_is_that_of_the_published_script():
    """RealBlur's evaluation multiplies both pictures by the mask before it takes SSIM."""
    from skimage.metrics import structural_similarity

    rng = np.random.default_rng(4)
    sharp = np.uint8(ndimage.gaussian_filter(rng.uniform(0, 255, (96, 120, 3)), (2, 2, 0)) * 1.5)
    image = np.uint8(0.9 * np.roll(ndimage.gaussian_filter(sharp, (1, 1, 0)), (3, 2), (0, 1)))
    moved, mask = align(image, sharp)
    assert not mask.all()
    x, z = mask * (sharp / np.float32(255.0)), mask * moved
    _, values = structural_similarity(
        x,
        z,
        channel_axis=-1,
        gaussian_weights=True,
        use_sample_covariance=False,
        data_range=1.0,
        full=True,
    )
    values = values * mask
    pad = (2 * int(3.5 * 1.5 + 0.5) + 1 - 1) // 2
    inner, cropped = values[pad:-pad, pad:-pad], mask[pad:-pad, pad:-pad]
    want = np.mean(inner.sum(axis=0).sum(axis=0) / cropped.sum(axis=0).sum(axis=0))
    assert ssim_aligned(image, sharp) == pytest.approx(want, abs=1e-6)
