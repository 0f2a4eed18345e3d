"""Several samples of a photograph: their files, their mean and their spread."""

import json

import numpy as np
import pytest
from PIL import Image

from deblur_tf.diffusion.sampling import SamplingSettings
from deblur_tf.inference import uncertainty
from tests.support.jobs import ONE, restore


def test_samples_mean_and_spread(deblurrer, folder):
    sampling = SamplingSettings(steps=2, n_samples=3)
    _, errors, new, _ = restore(deblurrer, folder, sampling, seed=5)
    assert errors == []
    assert {"a.png", "a_s5_0.png", "a_s5_2.png", "a_uncertainty.png"} <= new
    out = folder / "out"
    samples = [np.asarray(Image.open(out / f"a_s5_{i}.png"), np.float32) for i in range(3)]
    mean = np.asarray(Image.open(out / "a.png"), np.float32)
    assert np.abs(np.mean(samples, axis=0) - mean).max() <= 1.0
    spread = np.sqrt(np.var(samples, axis=0, ddof=1).mean(axis=-1))
    entry = json.loads((out / "manifest.json").read_text())["files"]["a.png"]["spread"]
    assert entry["median"] == pytest.approx(np.median(spread), abs=0.5)
    with Image.open(out / "a_uncertainty.png") as picture:
        assert picture.size == (24, 20 + 36)
        shown = np.asarray(picture.convert("L"), np.float32)[:20]
    assert np.corrcoef(shown.ravel(), np.minimum(spread, 32).ravel())[0, 1] > 0.9


def test_a_high_spread_gets_a_word():
    samples = np.zeros((2, 8, 8, 3), np.float32)
    samples[1, :4] = 0.2
    spread = uncertainty.spread_of(samples)
    np.testing.assert_allclose(spread[:4], 127.5 * 0.2 / np.sqrt(2), rtol=1e-5)
    assert "in 50% of the picture by more than 8" in str(uncertainty.summary(spread))
    assert "guesses" not in str(uncertainty.summary(np.zeros((4, 4))))


def test_samples_of_other_settings_go_and_missing_ones_come_back(deblurrer, folder):
    two = SamplingSettings(steps=1, n_samples=2)
    restore(deblurrer, folder, two)
    (folder / "out" / "a_s0_1.png").unlink()
    new = restore(deblurrer, folder, two)[2]
    assert new == {"a.png", "a_s0_0.png", "a_s0_1.png", "a_uncertainty.png"}
    (folder / "out" / "b_s0_0.jpg").write_bytes(b"of the second run")
    restore(deblurrer, folder, ONE)
    left = {p.name for p in (folder / "out").iterdir() if p.is_file()}
    assert left == {"a.png", "b.jpg", "manifest.json"}
    (folder / "out" / "a_s0_0.png").write_bytes(b"mine")
    _, errors, _, _ = restore(deblurrer, folder, two)
    assert "a_s0_0.png: exists" in str(errors[0])
    assert (folder / "out" / "a_s0_0.png").read_bytes() == b"mine"
