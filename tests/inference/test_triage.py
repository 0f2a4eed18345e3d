"""Which photographs are sharp already, and which came out no sharper."""

import json

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from deblur_tf.data import blur
from deblur_tf.diffusion.sampling import SamplingSettings
from deblur_tf.inference import pictures, triage
from deblur_tf.inference.deblurrer import Deblurrer
from tests.support.jobs import restore


@pytest.mark.slow
def test_sharp_photographs_are_copied(deblurrer, folder, photos):
    sharp = next(p[:256, :256] for p in photos if triage.sharpness(p[:256, :256]) > 0.9)
    path = 25.0 * blur.shake_trajectory(np.random.default_rng(3))
    shaken = blur.convolve(sharp, blur.rasterize(path))
    assert triage.sharpness(np.round(shaken).astype(np.uint8)) < 0.5
    frames = [Image.fromarray(sharp), Image.fromarray(255 - sharp)]
    frames[0].save(folder / "in" / "c.png", save_all=True, append_images=frames[1:])
    Image.fromarray(np.round(shaken).astype(np.uint8)).save(folder / "in" / "d.png")
    job, errors, new, _ = restore(deblurrer, folder)
    assert errors == []
    assert {"c.png", "d.png"} <= new
    same = [(folder / "in" / n).read_bytes() == (folder / "out" / n).read_bytes()
            for n in ("c.png", "d.png")]  # fmt: skip
    assert same == [True, False]
    entry = json.loads((folder / "out" / "manifest.json").read_text())["files"]["c.png"]
    assert entry["not_kept"] == []  # all of its frames are there
    assert "1 sharp already" in job.summary()
    job, _, new, _ = restore(deblurrer, folder, keep_sharp=False)
    assert "c.png" in new


@pytest.mark.parametrize("always", [False, True])
def test_a_photograph_that_came_out_no_sharper_is_left_as_it_was(
    deblurrer, folder, monkeypatch, always
):
    rng = np.random.default_rng(0)
    coarse = ndimage.zoom(rng.uniform(60, 200, (20, 20, 3)), (8, 8, 1), order=1)
    for name in ("a.png", "b.jpg", "sub/a.png"):
        (folder / "in" / name).unlink()
    Image.fromarray(np.uint8(coarse)).save(folder / "in" / "soft.png")
    blurrier = np.uint8(ndimage.gaussian_filter(coarse, (6, 6, 0)))
    monkeypatch.setattr(
        Deblurrer, "_sampled", lambda *_: pictures.pixels_to_model_range(blurrier[None])[None]
    )
    job, errors, new, _ = restore(deblurrer, folder, SamplingSettings(steps=1), always=always)
    assert errors == []
    assert new == {"soft.png"}
    entry = json.loads((folder / "out" / "manifest.json").read_text())["files"]["soft.png"]
    same = (folder / "in" / "soft.png").read_bytes() == (folder / "out" / "soft.png").read_bytes()
    assert same == entry.get("left", False) == (not always)
    assert ("1 left as they were" in job.summary()) == (not always)
    before = np.uint8(coarse)
    restored = deblurrer.restore(before, always=always)
    np.testing.assert_array_equal(restored, blurrier if always else before)


def lights(rng, photo):
    """Discs far brighter than a picture can store, in a dark photograph."""
    rows, columns = np.mgrid[:300, :300]
    scene = 0.12 * photo[:300, :300].astype(np.float32)
    for row, column in rng.uniform(20, 280, (30, 2)):
        scene[np.hypot(rows - row, columns - column) < 3] = 1200.0
    return scene


def lettering(rng, photo):
    del photo
    page = Image.new("RGB", (300, 300), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(18)
    for top in range(4, 300, 26):
        draw.text((4, top), "".join(rng.choice(list("abcdefghklmnops "), 40)), "black", font)
    return np.asarray(page, np.float32)


@pytest.mark.parametrize("scene", [lights, lettering])
def test_blurred_text_and_blurred_lights_are_no_sharp_photographs(scene, photos):
    """Their edges have more contrast than any in a photograph, blurred or not."""
    scores = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        picture = scene(rng, photos[0])
        sharp = np.uint8(np.clip(picture, 0, 255))[15:-15, 15:-15]
        path = 15.0 * blur.shake_trajectory(rng, exponent=1.5)
        blurry = blur.convolve(picture, blur.rasterize(path))
        blurry = np.uint8(np.clip(np.round(blurry + rng.normal(0, 1, blurry.shape)), 0, 255))
        scores.append((triage.sharpness(sharp), triage.sharpness(blurry)))
    before, after = np.array(scores).T
    assert (before > triage.SHARP).all()
    assert np.median(after) < 0.6
    assert np.sum(after > triage.SHARP) <= 1  # a score errs now and then


def test_the_widest_direction_of_edges_tells_motion_from_contrast():
    rng = np.random.default_rng(0)
    blocks = rng.uniform(0.2, 0.8, (20, 20)).repeat(12, 0).repeat(12, 1)
    moved = ndimage.uniform_filter1d(blocks, 13, axis=1)
    faint = 0.5 + 0.1 * (blocks - 0.5)
    narrow, wide = triage.edges(blocks), triage.edges(moved)
    np.testing.assert_allclose(triage.edges(faint), narrow, atol=0.05)  # whatever the contrast
    assert wide[0] < narrow[0] - 0.5  # across the motion
    assert wide[1] > wide[0] + 0.2  # along it, edges are as they were


def test_deblurring_is_told_from_smoothing():
    rng = np.random.default_rng(1)
    sharp = np.uint8(ndimage.zoom(rng.uniform(0, 255, (24, 24, 3)), (8, 8, 1), order=0))
    blurry = np.uint8(ndimage.gaussian_filter(sharp.astype(float), (3, 3, 0)))
    noisy = np.uint8(np.clip(blurry + 8 * rng.standard_normal(blurry.shape), 0, 255))
    assert triage.helped(blurry, sharp)
    assert triage.helped(noisy, sharp)  # though noise has gone
    assert not triage.helped(blurry, blurry)
    assert not triage.helped(sharp, blurry)
    assert triage.helped(sharp[:40, :40], blurry[:40, :40])  # nobody can tell
