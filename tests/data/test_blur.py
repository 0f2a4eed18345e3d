import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from deblur_tf.data import blur


def test_mildness_draws_small_shake_and_noise_more_often():
    flat = np.zeros((40, 40, 3), np.float32)
    extents, noises = {}, {}
    for m in (1.0, 2.0):
        draws = [np.random.default_rng(i) for i in range(60)]
        extents[m] = np.mean([extent(blur.random_kernel(rng, mildness=m)) for rng in draws])
        noises[m] = np.mean([blur.add_noise(flat, rng, mildness=m).std() for rng in draws])
    assert extents[2.0] < 0.85 * extents[1.0]
    np.testing.assert_allclose([noises[1.0], noises[2.0]], [7.5, 5.0], rtol=0.25)


def extent(kernel):
    rows, columns = np.nonzero(kernel > 1e-6)
    return max(np.ptp(rows), np.ptp(columns)) + 1


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), max_extent=st.floats(0, 30))
def test_kernels_are_blurs(seed, max_extent):
    kernel = blur.random_kernel(np.random.default_rng(seed), max_extent)
    assert kernel.shape == (31, 31)
    assert kernel.dtype == np.float32
    assert kernel.min() >= 0
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert extent(kernel) <= np.ceil(max_extent) + 2


def test_zero_extent_is_the_delta():
    kernel = blur.random_kernel(np.random.default_rng(0), 0.0)
    want = np.zeros((31, 31))
    want[15, 15] = 1
    np.testing.assert_allclose(kernel, want, atol=1e-7)


def test_extents_cover_the_range_from_delta_to_30():
    rng = np.random.default_rng(0)
    extents = np.array([extent(blur.random_kernel(rng)) for _ in range(400)])
    assert extents.min() <= 3
    assert extents.max() >= 29
    counts, _ = np.histogram(extents, [0, 8, 16, 24, 32])
    assert counts.min() > 60


def test_kernels_do_not_shift_the_picture():
    rng = np.random.default_rng(0)
    grid = np.arange(31) - 15
    centres = []
    for _ in range(300):
        kernel = blur.random_kernel(rng, 20.0)
        centres.append((kernel.sum(1) @ grid, kernel.sum(0) @ grid))
    # Centred, except where a lopsided path was moved to fit in.
    assert np.median(np.abs(centres)) < 0.01
    assert np.abs(centres).max() < 8


def test_kernels_are_thin_curves_not_blobs():
    """A hand-shake path of extent L covers an area that grows like L, not L^2."""
    rng = np.random.default_rng(1)
    for _ in range(50):
        kernel = blur.random_kernel(rng)
        covered = np.count_nonzero(kernel > 0.05 * kernel.max())
        assert covered < 0.45 * extent(kernel) ** 2 + 12


def test_seeds_reproduce_and_differ():
    a, b, c = (blur.random_kernel(np.random.default_rng(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 0


def test_convolve_matches_scipy():
    rng = np.random.default_rng(0)
    image, kernel = rng.uniform(0, 255, (40, 50, 3)), blur.random_kernel(rng)
    want = [scipy.signal.convolve2d(image[..., i], kernel, mode="valid") for i in range(3)]
    np.testing.assert_allclose(blur.convolve(image, kernel), np.stack(want, -1), atol=1e-3)


def test_noise_has_a_uniform_stddev():
    zero = np.zeros((64, 64, 3), np.float32)
    deviations = [blur.add_noise(zero, np.random.default_rng(i)).std() for i in range(300)]
    assert min(deviations) < 1
    assert 14 < max(deviations) < 15.5
    assert np.mean(deviations) == pytest.approx(7.5, abs=0.8)


def test_degrade_without_blur_and_noise_is_the_identity():
    sharp = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    result = blur.degrade(sharp, np.random.default_rng(0), max_extent=0.0, max_stddev=0.0)
    np.testing.assert_array_equal(result, sharp[15:-15, 15:-15])


def test_impossible_settings_are_refused():
    rng = np.random.default_rng(0)
    for extent_, support in ((31, 31), (10, 30), (-1, 31)):
        with pytest.raises(ValueError, match="odd support"):
            blur.random_kernel(rng, extent_, support)
    with pytest.raises(ValueError, match="spans 40.0 px"):
        blur.rasterize(np.array([[0.0, 0.0], [40.0, 1.0]]))
