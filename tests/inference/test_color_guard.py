"""The colour guard: low frequencies are those of the input."""

import numpy as np

from deblur_tf.image_files.reading import read_photo
from deblur_tf.inference import color_guard
from deblur_tf.inference.deblurrer import Deblurrer
from tests.support.jobs import restore


def test_the_colour_guard_keeps_the_low_frequencies():
    rng = np.random.default_rng(0)
    blurry = rng.uniform(-0.5, 0.5, (203, 150, 3)).astype(np.float32)
    detail = rng.normal(0, 0.1, blurry.shape).astype(np.float32)
    cast = np.array([0.2, -0.1, 0.0], np.float32)
    guarded = color_guard.keep_low_frequencies(blurry + detail + cast, blurry)
    assert np.abs(guarded.mean(axis=(0, 1)) - blurry.mean(axis=(0, 1))).max() < 2e-3
    np.testing.assert_allclose(guarded - blurry, detail, atol=0.02)
    ramp = np.linspace(0, 1, 150, dtype=np.float32)[None, :, None] * np.ones((203, 1, 3), "f")
    inner = np.s_[100:103, 70:80]  # far from the borders a ramp passes unchanged
    np.testing.assert_allclose(color_guard.low_frequencies(ramp)[inner], ramp[inner], atol=0.02)


def test_the_guard_is_applied(deblurrer, folder, monkeypatch):
    def reddish(self, images, *_):
        return (images * 0.5 + np.array([0.2, 0.0, 0.0], np.float32))[None]

    monkeypatch.setattr(Deblurrer, "_sampled", reddish)
    before = read_photo(folder / "in" / "a.png").pixels
    casts = []
    for guard in (False, True):
        restore(deblurrer, folder, color_guard=guard)
        after = read_photo(folder / "out" / "a.png").pixels
        casts.append(np.abs(after.mean(axis=(0, 1)) - before.mean(axis=(0, 1))).max())
        restored = deblurrer.restore(before, color_guard=guard)
        np.testing.assert_array_equal(restored, after)
    assert casts[0] > 20
    assert casts[1] < 6  # clipping moves the mean again
