"""A folder of photographs: manifest, resuming, sharp ones, spread, guard, truth."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from deblur_tf.base.errors import UsageError
from deblur_tf.data import blur
from deblur_tf.diffusion.fidelity import FidelityCurve, curve_of
from deblur_tf.diffusion.sampling import SamplingSettings
from deblur_tf.image_files import listing
from deblur_tf.image_files.reading import read_photo
from deblur_tf.inference import color_guard, pictures, triage, uncertainty
from deblur_tf.inference.deblurrer import Deblurrer
from deblur_tf.inference.job import Job
from deblur_tf.inference.manifest import Manifest

ONE = SamplingSettings(steps=1)


@pytest.fixture(scope="module")
def deblurrer(model):
    return Deblurrer(model)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    for name in ("a.png", "b.jpg", "sub/a.png"):
        pixels = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / name)
    return tmp_path


def restore(deblurrer, folder, sampling=ONE, **options):
    """Runs a job; returns it, what failed, and the files that were written anew."""
    out = folder / "out"
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()}
    sources = listing.search([str(folder / "in")], True, out).sources
    errors = []
    job = Job(deblurrer, sampling, out, on_error=errors.append, **options)
    seed = options.get("seed", 0)
    failed = job.run(listing.plan(sources, out, seed=seed, n_samples=sampling.n_samples))
    after = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()}
    new = {p.relative_to(out).as_posix() for p in after if before.get(p) != after[p]}
    return job, errors, new - {"manifest.json"}, failed


def test_the_manifest_decides_what_is_made_again(deblurrer, folder):
    _, errors, new, _ = restore(deblurrer, folder)
    assert (errors, new) == ([], {"a.png", "b.jpg", "sub/a.png"})
    manifest = json.loads((folder / "out" / "manifest.json").read_text())
    entry = manifest["files"]["sub/a.png"]
    assert entry["made_of"]["settings"] == dataclasses.asdict(ONE)
    assert entry["made_of"]["model"] == deblurrer.fingerprint()
    assert entry["versions"]["deblur_tf"]
    assert (entry["width"], entry["height"]) == (24, 20)

    job, _, new, _ = restore(deblurrer, folder)
    assert new == set()
    assert "3 already there" in job.summary()
    assert restore(deblurrer, folder, seed=1)[2] == {"a.png", "b.jpg", "sub/a.png"}
    Image.new("RGB", (24, 20), "red").save(folder / "in" / "a.png")  # another picture
    assert restore(deblurrer, folder, seed=1)[2] == {"a.png"}
    assert restore(deblurrer, folder, seed=1, overwrite=True)[2] == {"a.png", "b.jpg", "sub/a.png"}


def test_two_processes_do_not_share_a_folder(deblurrer, folder):
    """Each would forget what the other made; a lock ends with its process, however that ends."""
    code = (
        "import sys, time; from deblur_tf.inference.manifest import Manifest\n"
        "with Manifest(sys.argv[1]).held(): print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(folder / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match=f"process {other.pid} on .* is writing there"):
            restore(deblurrer, folder)
        other.kill()
    assert restore(deblurrer, folder)[2] == {"a.png", "b.jpg", "sub/a.png"}


def test_what_the_manifest_does_not_know_is_not_replaced(deblurrer, folder):
    (folder / "out" / "b.jpg").write_bytes(b"mine")
    _, errors, new, failed = restore(deblurrer, folder)
    assert new == {"a.png", "sub/a.png"}
    assert [p.name for p in failed] == ["b.jpg"]
    assert "manifest.json knows; --overwrite replaces it" in str(errors[0])
    assert (folder / "out" / "b.jpg").read_bytes() == b"mine"
    assert restore(deblurrer, folder, overwrite=True)[1] == []


def test_a_picture_that_was_begun_is_made_again(deblurrer, folder):
    restore(deblurrer, folder)
    target, old = folder / "out" / "b.jpg", folder / "out" / "b_s0_0.jpg"
    manifest = Manifest(folder / "out")
    manifest.record(target, [target, old], {"source": "of other settings"})
    manifest.begin(target, [target])  # a crash while it was written
    old.write_bytes(b"a sample that is not of it any more")
    journal = folder / "out" / "manifest.journal"
    journal.write_text(journal.read_text() + '{"a.png": {"unfin')
    assert restore(deblurrer, folder)[2] == {"b.jpg"}
    assert not journal.exists()
    assert not old.exists()
    assert set(Manifest(folder / "out").files) == {"a.png", "b.jpg", "sub/a.png"}


def test_a_manifest_that_cannot_be_read(deblurrer, folder):
    (folder / "out" / "manifest.json").write_text("{")
    with pytest.raises(UsageError, match=r"manifest\.json: cannot be read"):
        restore(deblurrer, folder)


def test_one_failure_stops_no_other(deblurrer, folder):
    (folder / "in" / "aa.png").write_bytes(b"broken")
    (folder / "out" / "sub").write_bytes(b"a file where a folder must be")
    _, errors, new, failed = restore(deblurrer, folder)
    assert new == {"a.png", "b.jpg"}
    assert [p.name for p in failed] == ["aa.png", "a.png"]
    for error, path in zip(errors, failed, strict=True):
        assert str(path) in str(error)


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


def test_truth_is_measured(deblurrer, folder):
    for name in ("a.png", "b.jpg", "sub/a.png"):
        target = folder / "gt" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(folder / "in" / name).convert("RGB").save(target.with_suffix(".bmp"))
    Image.new("RGB", (5, 5)).save(folder / "gt" / "a.blur.bmp")  # of another name, "a.blur"
    job, errors, _, _ = restore(deblurrer, folder, sharp_folder=str(folder / "gt"))
    assert errors == []
    assert "mean of 3: PSNR" in job.summary()
    entry = json.loads((folder / "out" / "manifest.json").read_text())["files"]["a.png"]
    assert 0 < entry["psnr"] < 60
    (folder / "gt" / "b.bmp").unlink()
    _, errors, _, _ = restore(deblurrer, folder, sharp_folder=str(folder / "gt"), overwrite=True)
    assert "no sharp photograph of" in str(errors[0])
    (folder / "gt" / "b.bmp").write_bytes((folder / "gt" / "a.bmp").read_bytes())
    job, errors, new, _ = restore(deblurrer, folder, sharp_folder=str(folder / "gt"))
    assert new == set()
    assert "mean of 3: PSNR" in job.summary()  # those that are there are measured too


def test_results_beside_their_inputs_are_no_inputs(deblurrer, folder):
    place = folder / "in"
    for run in range(2):
        made = Manifest(place).everything()
        sources = listing.search([str(place)], True, place, made).sources
        assert len(sources) == 3
        tasks = listing.plan(sources, place, suffix="_s")
        job = Job(deblurrer, ONE, place)
        assert job.run(tasks) == []
        assert job._there == 3 * run


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


ROWS = [
    {"steps": 1, "beta_max": 0.9975, "psnr": 24.0, "niqe": 8.0},
    {"steps": 3, "beta_max": 0.9, "psnr": 23.5, "niqe": 8.5},  # worse in both
    {"steps": 5, "beta_max": 0.9, "psnr": 23.0, "niqe": 7.5},
    {"steps": 20, "beta_max": 0.5, "psnr": 22.0, "niqe": 7.0, "sampler": "ddim"},
]


def test_fidelity_is_a_place_on_the_curve():
    curve = curve_of(ROWS, "niqe", "eight photographs")
    assert [p.settings.steps for p in curve.points] == [1, 5, 20]
    assert curve.at(1.0) == SamplingSettings(1, 0.9975)
    assert curve.at(0.0) == SamplingSettings(20, 0.5, sampler="ddim")
    assert curve.at(0.55).steps == 5
    assert FidelityCurve.from_json(json.loads(json.dumps(curve.to_json()))) == curve
    with pytest.raises(UsageError, match="fidelity must be in"):
        curve.at(1.5)
    with pytest.raises(ValueError, match="no settings"):
        curve_of([], "niqe", "")


def test_the_curve_of_a_measured_grid(tmp_path):
    from deblur_tf.base.files import write_csv
    from deblur_tf.evaluation.grid import read_curve

    rows = [{"kind": "sample", "n_samples": 1, "beta_max": 0.9, **row} for row in ROWS]
    write_csv(tmp_path / "grid.csv", rows)
    curve = read_curve(tmp_path / "grid.csv", "niqe")
    assert curve.points == curve_of(ROWS, "niqe", "").points
    with pytest.raises(KeyError):
        read_curve(tmp_path / "grid.csv", "fid")


def test_the_curve_travels_with_the_model(model, tmp_path):
    from deblur_tf.models import saved

    curve = curve_of(ROWS, "niqe", "eight photographs")
    saved.save_model(model, tmp_path, ONE, curve=curve)
    loaded = Deblurrer.from_pretrained(tmp_path)
    assert loaded.curve == curve
    assert loaded.settings(fidelity=0.0).sampler == "ddim"
    assert loaded.settings(fidelity=0.0, n_samples=4).n_samples == 4
    assert loaded.settings().steps == 1
    with pytest.raises(UsageError, match="carries no measured curve"):
        Deblurrer(model).settings(fidelity=0.5)


def test_photographs_of_one_size_are_restored_together(deblurrer, tmp_path, monkeypatch):
    """Whichever come together, each gets its own result, and a damaged one fails alone."""
    rng = np.random.default_rng(0)
    sizes = [(20, 24), (20, 24), (20, 24), (24, 20), (20, 24), (20, 24)]
    (tmp_path / "in").mkdir()
    for i, size in enumerate(sizes):
        pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{i}.png")
    (tmp_path / "in" / "4_damaged.png").write_bytes(b"no picture")
    counts = []
    draw = Deblurrer.draw

    def counted(self, batch, *rest):
        counts.append(len(batch))
        return draw(self, batch, *rest)

    monkeypatch.setattr(Deblurrer, "draw", counted)
    found = {}
    for batch_size in (1, 2):
        (tmp_path / "out").mkdir()
        _, errors, new, failed = restore(
            deblurrer, tmp_path, ONE.but(n_samples=2), always=True, batch_size=batch_size
        )
        assert [path.name for path in failed] == ["4_damaged.png"]
        assert len(errors) == 1
        assert len(new) == 6 * 4  # mean, two samples, their spread
        found[batch_size] = {
            name: np.asarray(Image.open(tmp_path / "out" / name)).astype(int) for name in new
        }
        (tmp_path / "out").rename(tmp_path / f"out{batch_size}")
    assert counts == [1] * 6 + [2, 1, 1, 2]
    for name, pixels in found[1].items():
        assert np.abs(found[2][name] - pixels).max() <= (20 if "uncertainty" in name else 1)


def test_a_batch_that_fails_is_tried_one_by_one(deblurrer, folder, monkeypatch):
    draw = Deblurrer.draw

    def limited(self, batch, *rest):
        if len(batch) > 1:
            raise MemoryError("not enough memory for two")
        return draw(self, batch, *rest)

    monkeypatch.setattr(Deblurrer, "draw", limited)
    _, errors, new, _ = restore(deblurrer, folder, batch_size=4)
    assert (errors, new) == ([], {"a.png", "b.jpg", "sub/a.png"})


def test_what_a_killed_writer_left_is_removed_and_nothing_else(deblurrer, folder):
    from deblur_tf.base import files

    out = folder / "out"
    (out / "sub").mkdir()
    for name in (".deblur_tf-ab12.partial", "sub/.deblur_tf-cd34.partial", "film.partial"):
        (out / name).write_bytes(b"half")
    with files.replacing(out / "x.txt") as file:
        file.write(b"whole")
        assert len(list(out.glob(".deblur_tf-*.partial"))) == 2
    restore(deblurrer, folder)
    assert [p.name for p in out.rglob("*.partial")] == ["film.partial"]
