"""Pairs made on the device against their NumPy twins in `data.blur`."""

import numpy as np
import pytest
from PIL import Image

from deblur_tf.base.errors import DataError
from deblur_tf.data import blur, pairs
from deblur_tf.data.blur import MARGIN
from deblur_tf.data.input import device


@pytest.fixture(scope="module")
def source():
    return device.DevicePairs(crop_size=32)


@pytest.fixture(scope="module")
def arrays(source):
    return source.arrays()


def numbers(*values):
    return np.array(values, np.int32)


def draws(count=6):
    rng = np.random.default_rng(0)
    waves = rng.standard_normal((count, 2, 512, 2)).astype("float32")
    return waves, *(
        rng.uniform(low, high, count).astype("float32")
        for low, high in (blur.EXPONENTS, (blur.MIN_SQUASH, 1.0), (0.0, 2 * np.pi))
    )


def test_trajectories_and_kernels_are_those_of_numpy():
    waves, exponent, squash, angle = draws()
    paths = np.array(device.trajectories(waves, exponent, squash, angle))
    for i, path in enumerate(paths):
        # There the two coordinates come before the frequencies.
        twin = blur.trajectory(waves[i].transpose(0, 2, 1), exponent[i], squash[i], angle[i])
        np.testing.assert_allclose(path, twin, atol=2e-6)
    scale = np.array([0.0, 3.0, 10.0, 20.0, 29.0, 29.9], "float32")[:, None, None]
    kernels = np.array(device.rasterize(scale * paths))
    for kernel, path in zip(kernels, scale * paths, strict=True):
        np.testing.assert_allclose(kernel, blur.rasterize(path.astype(np.float64)), atol=1e-6)


@pytest.mark.parametrize("size", [(62, 62), (45, 70)])
def test_convolution_is_that_of_numpy(size):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (2, *size, 3)).astype("float32")
    kernel = np.stack([blur.random_kernel(rng) for _ in range(2)])
    found = np.array(device.convolve(image, kernel))
    for i in range(2):
        np.testing.assert_allclose(found[i], blur.convolve(image[i], kernel[i]), atol=2e-3)


def test_pairs_are_pure_functions_of_their_number(source, arrays):
    many = [np.array(x) for x in source.make(arrays, numbers(5, 6, 7))]
    alone = [np.array(x) for x in source.make(arrays, numbers(6))]
    for a, b in zip(many, alone, strict=True):
        assert a.shape == (3, 32, 32, 3)
        assert a.dtype == np.uint8
        assert np.abs(a[1].astype(int) - b[0]).max() <= 1  # a rounding of the blur
    np.testing.assert_array_equal(many[1][1], source(6)[1])
    other = device.DevicePairs(crop_size=32, seed=1).make(arrays, numbers(6))[1]
    assert np.any(np.array(other) != alone[1])
    assert np.any(source(6)[1] != source(6 + 2**40)[1])


def test_without_degradation_both_images_are_equal(arrays):
    plain = device.DevicePairs(crop_size=32, max_extent=0.0, max_stddev=0.0)
    blurry, sharp = plain.make(arrays, np.arange(8, dtype=np.int32))
    np.testing.assert_array_equal(blurry, sharp)


def test_windows_come_from_the_images_in_all_orientations():
    photo = np.random.default_rng(0).integers(0, 256, (45, 40, 3), dtype=np.uint8)
    other = np.zeros((60, 12, 3), np.uint8)
    stacked = device.stack([photo, other])
    assert stacked["pixels"].shape == (2, 60, 40, 3)
    views = [np.rot90(f, k) for f in (photo, photo[:, ::-1]) for k in range(4)]
    patches = [
        {
            np.ascontiguousarray(v[y : y + 10, x : x + 10]).tobytes()
            for y in range(v.shape[0] - 9)
            for x in range(v.shape[1] - 9)
        }
        for v in views
    ]
    keys = device._keys(0, 0, np.arange(120, dtype=np.int32))
    windows = np.array(device.random_windows(stacked, keys, 10))
    seen = []
    for window in windows[windows.any(axis=(1, 2, 3))]:
        seen.append([n for n, p in enumerate(patches) if window.tobytes() in p])
    assert all(len(found) == 1 for found in seen)
    assert {found[0] for found in seen} == set(range(8))
    assert 40 < len(seen) < 80  # the rest are of the other image


def test_distribution_is_that_of_the_pairs_of_the_host(arrays):
    """Mean PSNR of the blurry images, within its spread."""
    host = pairs.PairGenerator(crop_size=32)
    of_host = np.stack([np.stack(host(i)) for i in range(256)], axis=1)
    of_device = device.DevicePairs(crop_size=32).make(arrays, np.arange(256, dtype=np.int32))
    means = []
    for blurry, sharp in (of_host, [np.array(x) for x in of_device]):
        error = np.mean((blurry.astype(float) - sharp) ** 2, axis=(1, 2, 3))
        means.append(10 * np.log10(255**2 / np.maximum(error, 0.1)))
    spread = np.sqrt(sum(m.var() / len(m) for m in means))
    assert abs(means[0].mean() - means[1].mean()) < 3 * spread


def save_pair(folder, value, size=(40, 50, 3)):
    for name, shade in (("blur", value), ("sharp", value + 1)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full(size, shade, np.uint8)).save(folder / name / f"{value}.png")


def test_genuine_pairs_stay_together(tmp_path):
    save_pair(tmp_path, 10)
    save_pair(tmp_path, 20, (60, 45, 3))
    genuine = device.DeviceFolderPairs(tmp_path, crop_size=32)
    assert "2 pairs" in genuine.describe()
    blurry, sharp = (np.array(x) for x in genuine.make(genuine.arrays(), np.arange(16)))
    assert set(np.unique(blurry)) == {10, 20}
    np.testing.assert_array_equal(sharp, blurry + 1)
    with pytest.raises(DataError, match="smaller than the crop size 64"):
        device.DeviceFolderPairs(tmp_path, crop_size=64).arrays()


def test_a_mix_takes_its_share(tmp_path):
    save_pair(tmp_path, 10)
    made = device.DeviceMix(
        lambda: device.DevicePairs(crop_size=16),
        lambda: device.DeviceFolderPairs(tmp_path, crop_size=16),
        share=0.25,
    )
    blurry, sharp = (np.array(x) for x in made.make(made.arrays(), np.arange(200, dtype=np.int32)))
    genuine = (blurry == 10).all(axis=(1, 2, 3))
    assert (sharp[genuine] == 11).all()
    assert 30 <= genuine.sum() <= 70
    with pytest.raises(ValueError, match="share"):
        device.DeviceMix(made.sources[0], made.sources[1], share=2.0)


def test_too_many_photos_are_refused_with_a_way_out(monkeypatch):
    monkeypatch.setattr(device, "MAX_BYTES", 1000)
    with pytest.raises(DataError, match="PairGenerator"):
        device.DevicePairs(crop_size=32).arrays()


def test_small_photos_are_extended_by_reflection(tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (48, 70, 3), dtype=np.uint8)
    Image.fromarray(photo).save(tmp_path / "small.png")
    arrays = device.DevicePairs(tmp_path, crop_size=32).arrays()
    side = 32 + 2 * MARGIN
    above = (side - 48) // 2
    assert arrays["sizes"].tolist() == [[side, 70]]
    np.testing.assert_array_equal(arrays["pixels"][0, above : above + 48], photo)
    np.testing.assert_array_equal(arrays["pixels"][0, :above], photo[:above][::-1])
