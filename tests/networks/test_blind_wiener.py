"""Blind deconvolution: statistics, Wiener's filter and the error in closed form, against NumPy."""

import numpy as np
import pytest
from keras import ops
from scipy import ndimage

from deblur_tf.data import blur
from deblur_tf.networks import statistics, windows
from deblur_tf.networks.blind_wiener import (
    BlindWiener,
    response,
    transfer,
    wiener,
)
from deblur_tf.networks.statistics import CHANNELS, MAX_LAG, SIDE, WINDOW
from deblur_tf.networks.unet import UNet
from deblur_tf.training.objectives.diffusion import Objective
from tests.support.helpers import images, natural, random_filter, randomize
from tests.support.models import blind_wiener, deconvolved_model


def spectrum(kernel, height, width):
    """The FFT of a small centred kernel in a periodic image."""
    placed = np.zeros((len(kernel), height, width))
    placed[:, : kernel.shape[1], : kernel.shape[2]] = kernel
    half = kernel.shape[1] // 2
    return np.fft.fft2(np.roll(placed, (-half, -half), (1, 2)))


def test_gradients_are_those_of_the_smoothed_image():
    gray = images(0, 1, 20, 17, 1)[..., 0]
    smooth = ndimage.convolve(gray[0], np.outer([1, 2, 1], [1, 2, 1]) / 16.0)

    def at(image, dy, dx):
        return np.roll(image, (-dy, -dx), (0, 1))

    across, down = smooth - at(smooth, 0, -1), smooth - at(smooth, -1, 0)
    want = [
        (across + at(across, -1, 0)) / 2,
        (down + at(down, 0, -1)) / 2,
        smooth - at(smooth, -1, -1),
        at(smooth, 0, -1) - at(smooth, -1, 0),
        at(gray[0], 0, 1) - at(gray[0], 0, -1),
        at(gray[0], 1, 0) - at(gray[0], -1, 0),
        ndimage.convolve(smooth, [[0, -1, 0], [-1, 4, -1], [0, -1, 0]]),
    ]
    want = np.stack(want)[:, 2:-2, 2:-2]
    want /= np.sqrt((want**2).mean((1, 2), keepdims=True))
    np.testing.assert_allclose(statistics.gradients(gray)[0], want, atol=1e-4)


def test_correlations_are_sums_over_pairs_of_pixels():
    gray = images(1, 2, 45, 70, 1)[..., 0]
    g = np.array(statistics.gradients(gray)).astype(np.float64)
    maps = np.array(statistics.correlations(gray))
    assert maps.shape == (2, 18, 63, 63)
    functions = {
        0: (0, lambda x: x),
        3: (3, lambda x: x),
        5: (1, lambda x: x * abs(x)),
        8: (0, lambda x: np.clip(x, -5, 5) ** 3),
        13: (5, lambda x: x),
        14: (4, lambda x: x * abs(x)),
        16: (6, lambda x: x * abs(x)),
        17: (6, lambda x: x * x),
    }
    height, width = g.shape[2:]
    for channel, (which, function) in functions.items():
        for dy, dx in ((0, 0), (3, -5), (-31, 7), (12, 31)):
            a, b = function(g[1, which]), g[1, which]
            here = a[max(-dy, 0) : height - max(dy, 0), max(-dx, 0) : width - max(dx, 0)]
            there = b[max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)]
            want = (here * there).sum() / (height * width)
            assert maps[1, channel, MAX_LAG + dy, MAX_LAG + dx] == pytest.approx(want, abs=2e-5)


def test_cepstra_are_those_of_hann_windows():
    gray = images(2, 1, 200, 256, 1)[..., 0]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    taper = np.outer(hann, hann)
    powers = []
    for top in (0, 64):
        for left in (0, 64, 128):
            part = gray[0, top : top + WINDOW, left : left + WINDOW].astype(np.float64)
            powers.append(abs(np.fft.fft2((part - part.mean()) * taper)) ** 2 / (taper**2).sum())
    want = [np.log(np.mean(powers, 0) + 1e-6), np.mean(np.log(np.array(powers) + 1e-6), 0)]
    got = np.array(statistics.cepstra(gray))[0]
    for a, b in zip(got, want, strict=True):
        full = np.roll(np.fft.ifft2(b).real, (MAX_LAG, MAX_LAG), (0, 1))[:63, :63]
        np.testing.assert_allclose(a, full, atol=2e-4)


@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (128, 128), (131, 190)])
def test_statistics_of_any_size_and_in_a_graph_of_unknown_size(shape):
    import tensorflow as tf

    image = images(3, 1, *shape, 3)
    maps = np.array(statistics.statistics(image))
    assert maps.shape == (1, SIDE, SIDE, statistics.CHANNELS)
    assert np.isfinite(maps).all()
    assert not maps[:, -1].any()
    assert not maps[:, :, -1].any()
    graph = tf.function(
        statistics.statistics, input_signature=[tf.TensorSpec([None, None, None, 3])]
    )
    np.testing.assert_allclose(graph(image), maps, atol=1e-4)


def test_statistics_turn_with_the_image():
    """So that one example teaches eight."""
    image = natural(0, 256, 256)[None]
    maps = statistics.statistics(image)
    for orientation in range(statistics.ORIENTATIONS):
        other = image[:, ::-1] if orientation & 1 else image
        other = other[:, :, ::-1] if orientation & 2 else other
        other = other.swapaxes(1, 2) if orientation & 4 else other
        got = np.array(statistics.statistics(np.ascontiguousarray(other)))
        want = np.array(statistics.turned(maps, orientation))
        scale = abs(want).max((0, 1, 2))
        # All but the pixels at the border are the same.
        assert (abs(got - want).max((0, 1, 2)) / scale).max() < 0.05, orientation


def test_a_turned_picture_has_the_turned_kernel():
    layer = blind_wiener()
    layer.build((None, None, None, 3))
    randomize(layer)
    maps = images(8, 2, SIDE, SIDE, statistics.EVIDENCE)
    maps[:, -1, :, :-1], maps[:, :, -1, :-1], maps[..., -1] = 0.0, 0.0, 0.7
    here = [np.array(x) for x in layer.blur(maps)]
    alone = [np.array(x) for x in layer.read(maps)]
    for orientation in range(statistics.ORIENTATIONS):
        there = layer.blur(statistics.turned(maps, orientation))
        for a, b, single in zip(here, there, alone, strict=True):
            np.testing.assert_allclose(statistics.turned_back(b, orientation), a, atol=1e-5)
            assert abs(single - a).max() > 1e-4


def test_the_kernel_shows_in_the_correlations():
    """A correlation of blurred white noise is that of the kernel, to which noise adds a spike."""
    rng = np.random.default_rng(0)
    kernel = blur.random_kernel(rng)
    noise = rng.standard_normal((600, 600, 1)).astype("float32")
    blurred = blur.convolve(noise, kernel)[None, ..., 0]
    maps = np.array(statistics.correlations(blurred))[0, 12]  # columns, no smoothing
    transform = spectrum(kernel[None], 64, 64)[0]
    frequency = np.arange(64) / 64
    derivative = 2 * np.sin(2 * np.pi * frequency)[None]
    want = np.fft.ifft2(abs(transform * derivative) ** 2).real
    want = np.roll(want, (MAX_LAG, MAX_LAG), (0, 1))[:63, :63] / want[0, 0]
    assert np.corrcoef(maps.ravel(), want.ravel())[0, 1] > 0.97


def test_transfer_and_response_are_those_of_the_fft():
    kernel, ratio = random_filter()
    got = [np.array(x) for x in transfer(kernel, 96, 65)]
    want = spectrum(kernel, 96, 65)
    np.testing.assert_allclose(got[0], want.real, atol=2e-6)
    np.testing.assert_allclose(got[1], want.imag, atol=2e-6)
    log_r = spectrum(ratio, 96, 65)
    np.testing.assert_allclose(log_r.imag, 0.0, atol=1e-9)
    wiener = want.conj() / (abs(want) ** 2 + np.exp(np.clip(log_r.real, -6, 4)))
    got = response(kernel, ratio, 96, 65)
    np.testing.assert_allclose(np.array(got[0]) + 1j * np.array(got[1]), wiener, atol=2e-3)


@pytest.mark.parametrize("size", [(53, 70), (1, 1), (16, 130)])
def test_wiener_equals_its_twin(size):
    kernel, ratio = random_filter()
    image = images(4, 2, *size, 3)
    height, width = (-(-(n + 96) // 32) * 32 for n in size)
    mean = image.mean((1, 2), keepdims=True)
    pads = ((0, 0), (48, height - 48 - size[0]), (48, width - 48 - size[1]), (0, 0))
    padded = np.pad((image - mean).astype(np.float64), pads, mode="reflect")
    transform = spectrum(kernel, height, width)
    ratios = np.exp(np.clip(spectrum(ratio, height, width).real, -6, 4))
    response = transform.conj() / (abs(transform) ** 2 + ratios)
    result = np.fft.ifft2(np.fft.fft2(padded, axes=(1, 2)) * response[..., None], axes=(1, 2)).real
    want = mean + result[:, 48 : 48 + size[0], 48 : 48 + size[1]]
    np.testing.assert_allclose(wiener(image, kernel, ratio), want, atol=1e-4)


def test_the_true_kernel_deblurs():
    rng = np.random.default_rng(1)
    sharp = natural(1, 158, 190)
    kernel = blur.random_kernel(rng, 12.0)
    blurry = blur.convolve(sharp, kernel) + 0.01 * rng.standard_normal((128, 160, 3))
    ratio = np.full((1, 1, 1), np.log(1e-2), "float32")
    found = wiener(blurry[None].astype("float32"), kernel[None], ratio)
    before, after = (
        np.mean((np.array(x)[20:-20, 20:-20] - sharp[35:-35, 35:-35]) ** 2)
        for x in (blurry, found[0])
    )
    assert after < 0.4 * before


def test_untrained_it_takes_a_symmetric_kernel_of_sum_one_and_changes_little():
    layer = blind_wiener()
    layer.build((None, None, None, 3))
    image = natural(2, 64, 80)[None]
    maps = statistics.evidence(image[:, None, None])[:, 0, 0]
    kernel, ratio = (np.array(x) for x in layer.blur(maps))
    assert kernel.shape == (1, 31, 31)
    assert ratio.shape == (1, 19, 19)
    np.testing.assert_allclose(kernel.sum(), 1.0, atol=1e-6)
    np.testing.assert_allclose(kernel, kernel[:, ::-1, ::-1], atol=1e-7)
    result = np.array(layer(image))
    np.testing.assert_allclose(result.mean((1, 2)), image.mean((1, 2)), atol=0.05)
    assert np.mean((result - image) ** 2) < np.var(image)


def test_images_of_a_batch_do_not_meet():
    layer = blind_wiener()
    layer.build((None, None, None, 3))
    randomize(layer)
    batch = images(5, 3, 40, 33, 3)
    together = np.array(layer(batch))
    for i in range(3):
        np.testing.assert_allclose(layer(batch[i : i + 1])[0], together[i], atol=1e-4)


@pytest.mark.parametrize(
    "make",
    [
        lambda: BlindWiener(UNet(4)),
        lambda: BlindWiener(UNet(4, use_noise_level=False)),
        lambda: BlindWiener(UNet(4, (1,) * 8, out_channels=2, use_noise_level=False)),
        lambda: blind_wiener(kernel_size=30),
        lambda: blind_wiener(ratio_size=65),
    ],
    ids=["noise level", "channels", "too deep", "even", "too large"],
)
def test_what_does_not_fit_is_refused(make):
    with pytest.raises(ValueError, match="BlindWiener"):
        make()


@pytest.mark.parametrize("learn", [False, True])
def test_the_diffusions_loss_reaches_the_deconvolution_if_told_to(learn):
    import tensorflow as tf

    model = deconvolved_model(learn_deconvolution=learn)
    model.build()
    randomize(model)
    objective = Objective(warm_start_steps=0)
    blurry, sharp = (np.uint8(255 * np.abs(images(i, 1, 32, 32, 3)).clip(0, 1)) for i in (1, 2))
    with tf.GradientTape() as tape:
        loss = objective(model, blurry, sharp, 3, np.arange(1, dtype=np.int32))["loss"]
    weights = [v.value for v in model.deconvolution.trainable_variables]
    gradients = tape.gradient(loss, weights)
    reached = [g is not None and float(ops.max(ops.abs(g))) > 0.0 for g in gradients]
    assert all(reached) if learn else not any(reached)


def test_condition_holds_what_the_filter_made():
    model = deconvolved_model()
    model.build()
    randomize(model)
    blurry = natural(6, 32, 40)[None]
    condition = model.condition(blurry)
    np.testing.assert_array_equal(condition.image, model.deconvolution(blurry))
    assert model.known(condition) is condition.image
    assert model.seen(condition).shape == (1, 32, 40, 6)
    noisy, level = images(7, 1, 32, 40, 3), np.array([0.5], "float32")
    base = np.array(model.denoise(noisy, level, condition).noise)
    for field in ("blurry", "image"):
        other = condition._replace(**{field: getattr(condition, field) + 0.1})
        assert np.abs(np.array(model.denoise(noisy, level, other).noise) - base).max() > 1e-4


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 64), (128, 160)])
def test_equal_windows_blend_to_the_image(height, width):
    image = images(4, 2, height, width, 3)
    cut = windows.split(image, 64)
    assert cut.shape == (2, height // 32 - 1, width // 32 - 1, 64, 64, 3)
    np.testing.assert_array_equal(cut[1, -1, 0], image[1, -64:, :64])
    np.testing.assert_allclose(windows.blend(cut), image, atol=1e-5)


def test_a_window_counts_by_its_distance_from_the_edges():
    cut = np.zeros((1, 1, 3, 8, 8, 1), np.float32)
    cut[0, 0, 1] = 1.0
    want = [0, 0, 0, 0, 0.125, 0.375, 0.625, 0.875]
    np.testing.assert_allclose(windows.blend(cut)[0, 3, :, 0], want + want[::-1], atol=1e-6)


def test_each_window_has_the_blur_of_its_place(monkeypatch):
    """Where one window alone holds a pixel, only the statistics of the whole come from others."""

    def alone(maps, energy):
        return ops.concatenate([maps, maps, ops.zeros_like(maps[..., :1])], axis=-1)

    monkeypatch.setattr(statistics, "combined", alone)
    by_place, at_once = windowed_and_whole()
    image = natural(1, 128, 300)[None]
    found = np.array(by_place(image))
    assert found.shape == (1, 128, 300, 3)
    np.testing.assert_allclose(found[:, :, :64], at_once(image[:, :, :128])[:, :, :64], atol=1e-4)
    # At the other end the image is continued by reflection up to a multiple of 64.
    continued = np.concatenate([image, image[:, :, -2:-22:-1]], axis=2)[:, :, -128:]
    np.testing.assert_allclose(found[:, :, 256:], at_once(continued)[:, :, 64:108], atol=1e-4)


def test_a_window_without_structure_takes_the_blur_of_the_whole():
    maps = images(1, 1, 1, 2, SIDE, SIDE, CHANNELS)
    energy = np.array([[[4.0, 0.0]]], "float32")
    found = np.array(statistics.combined(maps, energy))
    own, whole, count = np.split(found[0, 0], [CHANNELS, 2 * CHANNELS], axis=-1)
    np.testing.assert_allclose(own[1], maps[0, 0, 0], atol=1e-5)
    # The whole is all of the first window: nothing changes it.
    np.testing.assert_allclose(own[0], maps[0, 0, 0], atol=1e-5)
    for window in range(2):
        np.testing.assert_allclose(whole[window], maps[0, 0, 0], atol=1e-5)
    np.testing.assert_allclose(count, 1 / 3)  # log2 of two windows


def test_statistics_of_windows_are_averaged_by_their_energy():
    maps = images(1, 1, 2, 2, SIDE, SIDE, CHANNELS)
    energy = np.array([[[1.0, 2.0], [3.0, 2.0]]], "float32")
    found = np.array(statistics.combined(maps, energy))[0]
    weight = energy[0, ..., None, None, None]
    whole = np.sum(weight * maps[0], axis=(0, 1)) / 8.0
    for row, column in np.ndindex(2, 2):
        np.testing.assert_allclose(found[row, column, ..., CHANNELS:-1], whole, atol=1e-5)
        share = energy[0, row, column] / (energy[0, row, column] + 0.3 * 2.0)
        want = share * maps[0, row, column] + (1.0 - share) * whole
        np.testing.assert_allclose(found[row, column, ..., :CHANNELS], want, atol=1e-5)


def windowed_and_whole():
    """A deconvolution by windows of 128 pixels, and the same filter for a whole image."""
    layer = blind_wiener()
    layer.build(None)
    randomize(layer)

    def whole(image):
        maps = statistics.evidence(image[:, None, None])[:, 0, 0]
        return wiener(image, *layer.blur(maps))

    return layer, whole


def test_one_window_is_the_whole_image():
    by_place, at_once = windowed_and_whole()
    image = natural(2, 128, 128)[None]
    np.testing.assert_allclose(by_place(image), at_once(image), atol=1e-4)
