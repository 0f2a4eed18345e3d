"""Blur as real photographs have it: motion, sensor, pairs, and pairs that are used again."""

import io
import os
import signal
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from deblur_tf.base.errors import DataError
from deblur_tf.data import blur, camera, sensor
from deblur_tf.data.realistic import MARGIN, RealisticBlur, RealisticPairs
from deblur_tf.data.reused import ReusedPairs

CLEAN = {
    "scale": (1.0, 1.0),
    "defocus": 0.0,
    "sensor_noise": 0.0,
    "white": 0.0,
    "mosaic": 0.0,
    "resized": 0.0,
    "jpeg": 0.0,
    "moving": 0.0,
    "edge": 0.0,
}


def smooth(seed, *size, width=3.0):
    noise = np.random.default_rng(seed).standard_normal((*size, 3))
    field = ndimage.gaussian_filter(noise, (width, width, 0))
    return np.float32(0.5 + 0.15 * field / field.std()).clip(0, 1)


def photo(seed, height=200, width=220):
    return sensor.quantized(smooth(seed, height, width))


@pytest.mark.parametrize("straight", [0.0, 1.0])
def test_paths_have_their_extent_and_mean(straight):
    rng = np.random.default_rng(0)
    for _ in range(50):
        path = camera.random_path(rng, straight)
        assert np.ptp(path, axis=0).max() == pytest.approx(1.0, abs=0.15 if straight else 1e-9)
        np.testing.assert_allclose(path.mean(axis=0), 0.0, atol=1e-12)


def test_straight_paths_are_straight_and_tremor_is_not():
    def thickness(straight):
        rng = np.random.default_rng(1)
        paths = [camera.random_path(rng, straight) for _ in range(100)]
        return np.median([np.linalg.svd(p, compute_uv=False)[1] for p in paths])

    assert thickness(1.0) < 0.6 * thickness(0.0)


def test_extents_have_their_shares():
    rng = np.random.default_rng(0)
    found = np.array([camera.random_extent(rng) for _ in range(4000)])
    shares = [np.mean(found == 0), np.mean(found <= 12), np.mean(found <= 25)]
    np.testing.assert_allclose(shares, [0.05, 0.5, 0.85], atol=0.03)
    assert found.max() <= 40


def test_kernels_do_not_shift_the_picture_anywhere_in_it():
    """The sharp picture lies at the centroid of each path, whatever roll and zoom do."""
    rng = np.random.default_rng(2)
    grid = np.arange(camera.MAX_SUPPORT) - camera.MAX_SUPPORT // 2
    for _ in range(20):
        motion = camera.random_motion(rng, 15.0, 0.5, 12.0, (720, 1280))
        kernels = camera.kernel_grid(motion, np.array([-150.0, 400.0]), (256, 256))
        np.testing.assert_allclose(kernels.sum(axis=(2, 3)), 1.0, atol=1e-5)
        np.testing.assert_allclose(kernels.sum(axis=3) @ grid, 0.0, atol=1e-3)
        np.testing.assert_allclose(kernels.sum(axis=2) @ grid, 0.0, atol=1e-3)


def test_zoom_alone_blurs_the_edge_and_not_the_centre():
    zoom = np.linspace(-0.01, 0.01, 256)
    motion = camera.Motion(np.zeros((256, 2)), np.zeros(256), zoom)
    assert np.abs(motion.path(np.zeros(2))).max() == 0.0
    np.testing.assert_allclose(np.ptp(motion.path(np.array([0.0, 640.0])), axis=0), [0.0, 12.8])
    kernels = camera.kernel_grid(motion, np.zeros(2), (61, 601))
    assert kernels.shape[0] == 2  # 1.2 pixels between top and bottom
    assert kernels.shape[1] >= 6
    spread = (kernels[0] > 1e-4).any(axis=1).sum(axis=1)
    assert spread[0] >= 7  # 300 pixels from the centre, by 2 %
    assert spread[len(spread) // 2] <= 3


def test_one_kernel_is_a_convolution():
    image = smooth(3, 80, 90)
    kernel = blur.random_kernel(np.random.default_rng(0), 20.0, 61)
    found = camera.blurred(image, kernel[None, None])
    np.testing.assert_allclose(found, blur.convolve(image, kernel), atol=1e-5)


def test_equal_kernels_at_all_nodes_are_one_kernel():
    image = smooth(4, 100, 120)
    kernel = blur.random_kernel(np.random.default_rng(1), 20.0, 61)
    grid = np.broadcast_to(kernel, (2, 3, 61, 61))
    np.testing.assert_allclose(
        camera.blurred(image, grid), camera.blurred(image, kernel[None, None]), atol=1e-5
    )


def test_between_two_nodes_both_kernels_are_blended():
    image = smooth(5, 61, 100)
    kernels = [blur.rasterize(np.full((1, 2), s), 61) for s in (0.0, 0.0)]
    kernels[1] = np.roll(kernels[0], 7, axis=1)
    found = camera.blurred(image, np.stack(kernels)[None])
    one, two = (camera.blurred(image, k[None, None]) for k in kernels)
    weight = (np.arange(40) + 0.5)[:, None] / 40
    np.testing.assert_allclose(found, (1 - weight) * one + weight * two, atol=1e-5)


def test_defocus_is_a_gaussian():
    image = smooth(6, 101, 101, width=1.5)
    delta = np.zeros((1, 1, 61, 61), np.float32)
    delta[0, 0, 30, 30] = 1.0
    found = camera.blurred(image, delta, defocus=1.2)
    want = ndimage.gaussian_filter(image, (1.2, 1.2, 0))[30:-30, 30:-30]
    np.testing.assert_allclose(found, want, atol=2e-3)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), share=st.floats(0.1, 0.6))
def test_masks_have_their_share_and_a_thin_edge(seed, share):
    mask = camera.random_mask(np.random.default_rng(seed), (160, 120), share)
    assert mask.shape == (160, 120)
    assert mask.min() >= 0.0
    assert mask.max() <= 1.0
    assert mask.mean() == pytest.approx(share, abs=0.03)
    assert np.mean((mask > 0.02) & (mask < 0.98)) < 0.12


@settings(max_examples=30, deadline=None)
@given(gamma=st.floats(1.8, 2.4))
def test_light_and_stored_values_are_inverse(gamma):
    stored = np.linspace(0, 1, 256, dtype=np.float32)
    light = sensor.to_light(stored, gamma)
    np.testing.assert_allclose(sensor.to_stored(light, gamma), stored, atol=2e-6)
    assert np.all(np.diff(light) > 0)


def test_the_curve_is_srgb():
    # IEC 61966-2-1: middle gray of 18 % light is stored as 118 of 255.
    assert sensor.to_stored(np.float32(0.18)) * 255 == pytest.approx(117.6, abs=0.1)
    assert not np.isnan(sensor.to_light(np.float32(-1e-3))).any()


def test_noise_grows_with_light_and_spares_clipped_pixels():
    rng = np.random.default_rng(0)
    for light, want in ((0.0, 0.01**2), (0.5, 0.5 * 1e-3 + 0.01**2)):
        flat = np.full((300, 300, 3), light, np.float32)
        noisy = sensor.shot_and_read_noise(flat, rng, 1e-3, 0.01, mosaic=False)
        assert noisy[..., 1].var() == pytest.approx(want, rel=0.05)
        # Red and blue are amplified by their gains, of which the read noise has the square.
        assert noisy[..., 0].var() > 1.5 * noisy[..., 1].var()
    white = np.ones((20, 20, 3), np.float32)
    np.testing.assert_allclose(
        sensor.shot_and_read_noise(white, rng, 1e-3, 0.01, mosaic=False), 1.0, atol=1e-6
    )


def test_demosaicing_keeps_what_was_measured_and_gray_ramps():
    image = smooth(7, 40, 42)
    found = sensor.demosaiced(image)
    np.testing.assert_array_equal(found[0::2, 0::2, 0], image[0::2, 0::2, 0])
    np.testing.assert_array_equal(found[0::2, 1::2, 1], image[0::2, 1::2, 1])
    np.testing.assert_array_equal(found[1::2, 0::2, 1], image[1::2, 0::2, 1])
    np.testing.assert_array_equal(found[1::2, 1::2, 2], image[1::2, 1::2, 2])
    ramp = np.linspace(0.2, 0.8, 40)[:, None] + np.linspace(0, 0.1, 42)
    gray = np.repeat(ramp[..., None], 3, -1).astype(np.float32)
    np.testing.assert_allclose(sensor.demosaiced(gray)[4:-4, 4:-4], gray[4:-4, 4:-4], atol=1e-5)


def test_brightening_leaves_what_is_not_nearly_clipped():
    light = np.array([0.0, 0.5, 0.94, 0.96, 1.0], np.float32)
    np.testing.assert_allclose(
        sensor.brightened(light, 2.0), [0.0, 0.5, 0.94, 1.92, 2.0], rtol=1e-6
    )


def test_jpeg_is_what_pillow_gives():
    image = photo(8, 40, 48)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "jpeg", quality=80)
    np.testing.assert_array_equal(sensor.compressed(image, 80), np.asarray(Image.open(buffer)))


@pytest.mark.parametrize("in_light", [0.0, 1.0])
def test_without_motion_and_camera_both_pictures_are_equal(in_light):
    still = RealisticBlur(**CLEAN, in_light=in_light, brightened=0.0, extents=((1.0, 0.0, 0.0),))
    for seed in range(3):
        blurry, sharp = still.pair([photo(seed)], (64, 72), np.random.default_rng(seed))
        assert blurry.shape == (64, 72, 3)
        assert np.abs(blurry.astype(int) - sharp).max() <= 1


def test_the_target_lies_where_the_blurry_picture_does():
    """Otherwise the loss would teach to shift pictures."""
    moving = RealisticBlur(**CLEAN, in_light=0.0, extents=((1.0, 20.0, 20.0),))
    shifts = []
    for seed in range(6):
        blurry, sharp = moving.pair(
            [photo(seed, 260, 260)], (160, 160), np.random.default_rng(seed)
        )
        a, b = (np.fft.rfft2(x.mean(-1) - x.mean()) for x in (blurry, sharp))
        peak = np.fft.irfft2(a * b.conj())
        at = np.array(np.unravel_index(np.argmax(peak), peak.shape))
        shifts.append(np.where(at > 80, at - 160, at))
    assert np.abs(np.mean(shifts, axis=0)).max() <= 1.5
    assert np.abs(shifts).max() <= 4  # a lopsided path correlates best beside its centroid


def test_blown_lights_leave_brighter_streaks():
    scene = np.zeros((200, 200, 3), np.uint8)
    scene[98:102, 98:102] = 255
    lamp = {**CLEAN, "extents": ((1.0, 20.0, 20.0),), "in_light": 1.0, "gamma": (2.2, 2.2)}
    plain, bright = (
        RealisticBlur(**lamp, brightened=b, brightening=(1.75, 1.75)).pair(
            [scene], (140, 140), np.random.default_rng(0)
        )[0]
        for b in (0.0, 1.0)
    )
    assert bright.max() > plain.max() + 20


def test_what_moves_by_itself_covers_its_share():
    settings = {**CLEAN, "moving": 1.0, "extents": ((1.0, 0.0, 0.0),), "in_light": 0.0}
    scene, thing = np.zeros((200, 200, 3), np.uint8), np.full((200, 200, 3), 200, np.uint8)
    found = RealisticBlur(**settings, moving_share=(0.3, 0.3)).pair(
        [scene, thing], (100, 100), np.random.default_rng(0)
    )
    for image in found:
        assert {0, 200} <= set(np.unique(image).tolist())
        assert 0.02 < np.mean(image > 100) < 0.8
    np.testing.assert_array_equal(*found)


def test_plain_pairs_have_one_shake_and_weak_noise_alone():
    """No object, no light, and the same blur all over: a dot leaves the same streak anywhere."""
    scene, thing = np.full((260, 260, 3), 60, np.uint8), np.full((260, 260, 3), 255, np.uint8)
    for y in range(25, 260, 60):
        scene[y : y + 2, 25::60] = scene[y : y + 2, 26::60] = 160
    blur = RealisticBlur(plain=1.0, scale=(1.0, 1.0), turned=False, moving=1.0)
    for seed in range(4):
        blurry, sharp = blur.pair([scene, thing], (180, 180), np.random.default_rng(seed))
        assert sharp.max() == 160
        streaks = blurry.astype(float).mean(-1)
        parts = [streaks[y : y + 60, x : x + 60] for y in (0, 60, 120) for x in (0, 60, 120)]
        assert max(np.abs(part - parts[0]).mean() for part in parts) < 3.0  # noise of up to 2


def test_small_photos_are_continued():
    blurry, sharp = RealisticBlur().pair([photo(1, 50, 400)], (96, 64), np.random.default_rng(0))
    assert blurry.shape == sharp.shape == (96, 64, 3)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("jpeg", 1.5),
        ("shot", (1e-3, 1e-4)),
        ("extents", ((0.5, 0.0, 1.0),)),
        ("extents", ((1.0, 0.0, 80.0),)),
    ],
)
def test_impossible_settings_are_named(setting, value):
    with pytest.raises(ValueError, match=f"RealisticBlur.{setting}"):
        RealisticBlur(**{setting: value})


def test_pairs_are_pure_functions_of_their_number(photos):
    one, two = (RealisticPairs(photos, crop_size=64) for _ in range(2))
    for index in (0, 2**62 + 3):
        for a, b in zip(one(index), two(index), strict=True):
            np.testing.assert_array_equal(a, b)
            assert (a.shape, a.dtype) == ((64, 64, 3), np.uint8)
    assert np.any(one(0)[1] != one(1)[1])
    assert MARGIN == 30


class Numbered:
    """Pairs that are their number."""

    crop_size = 8

    def __call__(self, index):
        if index == 100:
            raise DataError("pair 100 is damaged")
        image = np.full((8, 8, 3), index, np.uint8)
        return image, image

    def describe(self):
        return "numbers"


def test_each_pair_is_used_so_often_within_its_block():
    reused = ReusedPairs(Numbered, crop_size=4, uses=3, block=5, processes=0)
    numbers = [int(reused(i)[0][0, 0, 0]) for i in range(30)]
    for block in (0, 1):
        counts = np.bincount(numbers[15 * block : 15 * (block + 1)], minlength=10)
        np.testing.assert_array_equal(counts, [3 * (n // 5 == block) for n in range(10)])
    assert numbers[:15] != sorted(numbers[:15])


def test_a_crop_depends_on_its_number_alone(photos):
    def source():
        return RealisticPairs(photos, crop_size=48)

    ahead, again = (ReusedPairs(source, 32, uses=2, block=4, processes=0) for _ in range(2))
    order = [0, 13, 5, 30, 2]
    late = {i: again(i) for i in reversed(order)}
    for i in order:
        for a, b in zip(ahead(i), late[i], strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.shape == (32, 32, 3)


@pytest.mark.slow
def test_pairs_of_another_process_are_the_same():
    def make(processes):
        return ReusedPairs(RealisticPairs, 128, uses=2, block=2, processes=processes)

    for a, b in zip(make(1)(3), make(0)(3), strict=True):
        np.testing.assert_array_equal(a, b)


class Slow(Numbered):
    """Leaves a file for each pair that it has made."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def __call__(self, index):
        time.sleep(0.1)
        (self.folder / str(index)).touch()
        return super().__call__(index % 100)


@pytest.mark.slow
def test_processes_end_with_the_run_and_not_by_ctrl_c(tmp_path):
    """Ctrl-C reaches every process of a terminal; pairs that are not needed are not made."""
    reused = ReusedPairs(lambda: Slow(tmp_path), crop_size=4, uses=1, block=300, processes=1)
    reused(0)
    processes = list(reused._pool._processes.values())
    os.kill(processes[0].pid, signal.SIGINT)
    reused(1)
    reused.close()
    assert not any(process.is_alive() for process in processes)
    assert len(list(tmp_path.iterdir())) < 300
    with pytest.raises(RuntimeError, match="after close"):
        reused(700)


def test_a_pair_that_cannot_be_made_says_so():
    reused = ReusedPairs(Numbered, crop_size=8, uses=1, block=101, processes=0)
    numbers = reused._order(0).tolist()
    with pytest.raises(DataError, match="pair 100"):
        reused(numbers.index(100))


def test_crops_larger_than_pairs_are_refused():
    with pytest.raises(ValueError, match="ReusedPairs: crops of 16"):
        ReusedPairs(Numbered, crop_size=16)
