"""Learning blind deconvolution from real windows: their spectra, and the error of a filter."""

from functools import partial

import numpy as np
import pytest
from keras import ops

from deblur_tf.data.window_spectra import WindowSpectra, turned_spectra
from deblur_tf.models.regression import Regression
from deblur_tf.networks.blind_wiener import BlindWiener
from deblur_tf.networks.predictor import StructurePredictor
from deblur_tf.networks.statistics import MAX_LAG
from deblur_tf.numerics.image_ops import to_model_range
from deblur_tf.training.objectives.deconvolution import WindowObjective, window_error
from tests.support.helpers import natural, random_filter
from tests.support.models import blind_wiener


class Windows:
    """Pairs of pictures that are as large as a window, by default."""

    def __init__(self, crop_size=256):
        self.crop_size = crop_size

    def __call__(self, index):
        sharp = np.uint8((natural(index, self.crop_size, self.crop_size) + 1) * 127.5)
        return np.roll(sharp, 2, axis=1), sharp

    def describe(self):
        return "windows"


def test_window_error_is_the_squared_difference_in_pixels():
    """Parseval: with a delta for a kernel and no noise it is that of the tapered pictures."""
    source = WindowSpectra(Windows, examples=1)
    _, spectra = source(0)
    delta = np.zeros((1, 31, 31), np.float32)
    delta[0, 15, 15] = 1.0
    ratio = np.zeros((1, 19, 19), np.float32)
    ratio[0, 9, 9] = -6.0  # the smallest that is allowed: a factor 0.9975
    errors, before = (
        float(x[0]) for x in window_error(delta, ratio, spectra[None].astype("float32"))
    )
    blurry, sharp = (x.mean(-1, dtype=np.float32) / 255 for x in Windows()(0))
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(256) + 0.5) / 256)
    taper = np.outer(hann, hann) / np.sqrt(np.sum(np.outer(hann, hann) ** 2))
    assert before == pytest.approx(np.sum(((blurry - sharp) * taper) ** 2), rel=0.01)
    assert errors == pytest.approx(before, rel=0.02)


@pytest.mark.parametrize("orientation", range(8))
def test_turned_spectra_are_those_of_turned_pictures(orientation):
    """The error of any filter on them is that on the spectra of the turned pictures."""
    kernel, ratio = random_filter(5)
    source = WindowSpectra(Windows, examples=1)
    blurry, sharp = Windows()(0)

    def turned(image):
        for bit, axis in ((1, 0), (2, 1)):
            image = np.flip(image, axis) if orientation & bit else image
        return np.swapaxes(image, 0, 1) if orientation & 4 else image

    class Turned(Windows):
        def __call__(self, index):
            return turned(blurry), turned(sharp)

    want = WindowSpectra(Turned, examples=1)._pair(0)[1][0]
    found = turned_spectra(source._pair(0)[1][0], orientation)
    for spectra in (found, want):
        assert spectra.shape == (256, 129, 4)
    errors = [window_error(kernel[:1], ratio[:1], s[None].astype("float32")) for s in (found, want)]
    for a, b in zip(*errors, strict=True):
        np.testing.assert_allclose(a, b, rtol=3e-3)


@pytest.mark.slow
@pytest.mark.parametrize("behind", [False, True], ids=["alone", "of a predictor"])
def test_the_loss_of_windows_falls(behind):
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    predictor = blind_wiener()
    if behind:
        predictor = StructurePredictor((2,), (1,), (3,), predictor, learn_deconvolution=True)
    model, source = Regression(predictor), WindowSpectra(Windows, examples=3)
    model.build()
    maps, spectra = (np.stack(x) for x in zip(*(source(i) for i in range(4)), strict=True))
    objective, optimizer = WindowObjective(), keras.optimizers.Adam(1e-3)
    losses = []
    for step in range(12):
        with tf.GradientTape() as tape:
            loss = ops.mean(objective(model, maps, spectra, step, None)["loss"])
        named = [v for v in model.trainable_variables if "blind_wiener" in v.path]
        gradients = tape.gradient(loss, [v.value for v in named])
        assert all(g is not None for g in gradients)
        optimizer.apply(gradients, named)
        losses.append(float(loss))
    assert losses[-1] < losses[0] - 0.5


def test_an_example_is_a_function_of_its_number():
    source, again = (WindowSpectra(Windows, examples=3) for _ in range(2))
    for index in (0, 1, 2**40):
        for a, b, (shape, dtype) in zip(source(index), again(index), source.spec, strict=True):
            np.testing.assert_array_equal(a, b)
            assert (a.shape, a.dtype) == (shape, dtype)
    assert source(5)[0][MAX_LAG, MAX_LAG, 0] == pytest.approx(1.0, abs=2e-3)


def test_the_windows_of_a_picture_are_those_that_the_model_reads(monkeypatch):
    """Each with the statistics of the whole picture, and with its own part of both spectra."""
    layer, read = blind_wiener(window=256), []
    layer.build(None)
    monkeypatch.setattr(
        layer, "blur", lambda maps: read.append(maps) or BlindWiener.blur(layer, maps)
    )
    picture = Windows(384)(3)[0]
    layer(to_model_range(picture[None]))
    maps, spectra = WindowSpectra(partial(Windows, 384), examples=4)._pair(3)
    np.testing.assert_allclose(maps, read[0], atol=0.02)
    assert (maps[..., -1] == np.float16(2 / 3)).all()  # log2 of four windows, by 3
    corner = Windows(384)(3)[1][128:, 128:].mean(-1) / 255
    blurry = picture[128:, 128:].mean(-1) / 255
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(256) + 0.5) / 256)
    taper = np.outer(hann, hann) / np.sqrt(np.sum(np.outer(hann, hann) ** 2))
    want = np.fft.rfft2((corner - blurry.mean()) * taper)
    np.testing.assert_allclose(spectra[3, ..., 2], want.real, atol=2e-3 * abs(want).max())


def test_pairs_that_hold_no_whole_number_of_windows_are_refused():
    for side in (128, 300):
        with pytest.raises(ValueError, match="a multiple of 128 pixels, at least 256; got"):
            WindowSpectra(partial(Windows, side))
