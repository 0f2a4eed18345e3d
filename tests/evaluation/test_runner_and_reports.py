"""Pairs, baselines, and an evaluation that keeps one picture at a time."""

import weakref

import numpy as np
import pytest
from PIL import Image

from deblur_tf import metrics
from deblur_tf.base.errors import DataError, UsageError
from deblur_tf.data.photos import open_photos
from deblur_tf.evaluation import pairs, runner
from deblur_tf.evaluation.baselines import best_smoothing
from deblur_tf.evaluation.features import MeasuredOnce
from deblur_tf.evaluation.report import Report
from deblur_tf.evaluation.sheets import picture_sheet
from deblur_tf.evaluation.subjects import Restored
from deblur_tf.metrics.psnr import psnr
from tests.support.evaluations import Perfect, gray_set, picture


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.mark.parametrize(
    ("blurry", "sharp"), [("blur", "sharp"), ("input", "target"), ("LQ", "GT")]
)
def test_pairs_are_matched_by_name(tmp_path, blurry, sharp):
    for scene, value in (("a", 10), ("b", 20)):
        save(tmp_path / scene / blurry / "1.png", picture(value))
        save(tmp_path / scene / sharp / "1.png", picture(value + 1))
    found = list(pairs.folder(tmp_path, 16))
    assert [p.name for p in found] == ["a-1", "b-1"]
    assert found[1].blurry.shape == (16, 16, 3)
    assert (found[1].blurry[0, 0, 0], found[1].sharp[0, 0, 0]) == (20, 21)


def test_missing_partners_are_named_before_any_work(tmp_path):
    save(tmp_path / "blur" / "1.png", picture(1))
    with pytest.raises(DataError, match=r"1 without a sharp image: 1"):
        pairs.folder(tmp_path)
    save(tmp_path / "sharp" / "1.png", picture(1, 30))
    with pytest.raises(DataError, match="differ in size"):
        list(pairs.folder(tmp_path))


def test_synthetic_pairs_are_seeded_centre_crops():
    photos = open_photos(None)
    first = pairs.synthetic(photos, 64, seed=1)[0]
    again = pairs.synthetic(photos, 64, seed=1)[0]
    other = pairs.synthetic(photos, 64, seed=2)[0]
    np.testing.assert_array_equal(first.blurry, again.blurry)
    assert np.any(first.blurry != other.blurry)
    np.testing.assert_array_equal(first.sharp, pairs.centre_crop(photos[0], 64))


def evaluate(folder, model, of=None, settings=None, **more):
    report = Report(folder, settings or {"seed": 0}, metrics.ALL, sheet_rows=2)
    subject = Restored(model, more.pop("n_samples", 1))
    return runner.evaluate(subject, of or gray_set(), metrics.ALL, report, **more)


def test_figures_table_and_files(tmp_path):
    outcome = evaluate(tmp_path, Perfect(), n_samples=2)
    assert outcome.means["blurry"]["psnr"] == pytest.approx(20 * np.log10(255 / 10))
    assert outcome.means["sample"]["psnr"] == np.inf
    assert outcome.means["mean"]["psnr"] == pytest.approx(20 * np.log10(255 / 50))
    assert "| 3 grays, whole images | PSNR (dB) | SSIM |" in outcome.table
    assert "| blurry input | 28.13 |" in outcome.table
    assert "| best Gaussian smoothing of each | 28.13 |" in outcome.table
    assert "mean of 2 samples" in outcome.table
    assert "mean of" not in evaluate(tmp_path / "one", Perfect()).table
    assert len((tmp_path / "figures.csv").read_text().splitlines()) == 1 + 3 * 5
    assert len((tmp_path / "one" / "figures.csv").read_text().splitlines()) == 1 + 3 * 4
    assert (tmp_path / "table.md").read_text() == outcome.table + "\n"
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (4 * (96 + 2), 18 + 2 * (40 + 2))  # the first two of three


def test_no_picture_is_kept(tmp_path):
    """A whole test set has gigabytes of pictures."""
    alive = []

    class Watched(np.ndarray):
        pass

    def read(index):
        made = picture(index).view(Watched)
        alive.append(weakref.ref(made))
        # This one, the one that another thread judges, and the one that SSIM's metrics shared last.
        assert sum(ref() is not None for ref in alive) <= 3
        return made, picture(100)

    evaluate(tmp_path, Perfect(), pairs.Numbered("grays", 9, str, read))


def test_an_interrupted_evaluation_goes_on(tmp_path):
    def broken(index):
        if index == 4:
            raise KeyboardInterrupt
        return gray_set().read(index)

    first = Perfect()
    with pytest.raises(KeyboardInterrupt):
        evaluate(tmp_path, first, pairs.Numbered("grays", 6, str, broken))
    assert first.calls == 4
    with open(tmp_path / "figures.csv", "a") as file:
        file.write("4,blurry,28.1")  # cut short by a kill
    second = Perfect()
    outcome = evaluate(tmp_path, second, gray_set(6))
    assert second.calls == 2
    assert outcome.table == evaluate(tmp_path / "whole", Perfect(), gray_set(6)).table
    assert Report(tmp_path, {"seed": 0}, metrics.ALL).done


def test_what_was_measured_survives_a_second_interruption(tmp_path):
    def stops(at):
        def read(index):
            if index == at:
                raise KeyboardInterrupt
            return gray_set().read(index)

        return pairs.Numbered("grays", 6, str, read)

    for at in (1, 3):  # among the pictures of the sheet, and after them
        with pytest.raises(KeyboardInterrupt):
            evaluate(tmp_path, Perfect(), stops(at))
        assert len((tmp_path / "figures.csv").read_text().splitlines()) == 1 + at * 4
    last = Perfect()
    evaluate(tmp_path, last, gray_set(6))
    assert last.calls == 3
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (3 * (96 + 2), 18 + 2 * (40 + 2))


def test_figures_of_other_settings_are_not_taken(tmp_path):
    evaluate(tmp_path, Perfect())
    report = Report(tmp_path, {"seed": 1}, metrics.ALL)
    assert not report.done
    assert report.found == {}
    assert (tmp_path / "table.md").exists()  # until the other evaluation begins
    report.start(["blurry", "smoothed", "sample", "sharp"])
    assert not (tmp_path / "table.md").exists()
    mine = tmp_path / "mine"
    (mine / "pictures").mkdir(parents=True)
    with pytest.raises(UsageError, match="has pictures, and no settings.json"):
        Report(mine, {}, metrics.ALL)


def test_a_bad_picture_costs_only_itself(tmp_path):
    def read(index):
        if index == 1:
            raise DataError("b.png: cannot be read")
        return gray_set().read(index)

    outcome = evaluate(tmp_path, Perfect(), pairs.Numbered("grays", 3, str, read))
    assert outcome.failed == ["b.png: cannot be read"]
    assert "| 2 grays, " in outcome.table
    assert (tmp_path / "failed.txt").read_text() == "b.png: cannot be read\n"
    assert not Report(tmp_path, {"seed": 0}, metrics.ALL).done  # the file may be mended
    mended = evaluate(tmp_path, Perfect(), gray_set(3))
    assert "| 3 grays, " in mended.table
    assert not (tmp_path / "failed.txt").exists()
    assert Report(tmp_path, {"seed": 0}, metrics.ALL).done


def test_a_picture_too_small_for_a_metric_is_named(tmp_path):
    small = pairs.Numbered("dots", 1, "dot {}".format, lambda i: [picture(9, 5, 30)] * 2)
    outcome = evaluate(tmp_path, Perfect(), small)
    assert outcome.failed == []
    assert "1 sample pictures have no ssim" in outcome.table
    assert np.isnan(outcome.means["sample"]["ssim"])
    assert outcome.means["sample"]["psnr"] > 0
    alone = runner.evaluate(Restored(Perfect()), small, [metrics.SSIM])
    assert alone.failed == ["dot 0: 30x5 pixels; SSIM needs 11 a side"]


def test_a_picture_without_a_value_is_counted_and_left_out(tmp_path):
    def bright(image, sharp):
        if image.mean() < 95:
            raise DataError("too dark")
        return float(image.mean())

    metric = metrics.PerImage("bright", "brightness", 1, bright, reference=False)
    subject = Restored(Perfect())
    report = Report(tmp_path, {}, [metric])
    outcome = runner.evaluate(subject, gray_set(), [metric], report)
    assert outcome.means["sample"]["bright"] == 100
    assert np.isnan(outcome.means["blurry"]["bright"])
    assert "| sharp | 100.0 |" in outcome.table
    assert "3 blurry pictures have no bright" in outcome.table
    assert "NaN" not in (tmp_path / "report.json").read_text()


def test_names_that_would_share_a_file_are_refused(tmp_path):
    twins = pairs.Numbered("twins", 2, ["a/b", "a-b"].__getitem__, gray_set().read)
    with pytest.raises(DataError, match="a/b and a-b would share a file"):
        evaluate(tmp_path, Perfect(), twins)


def test_metrics_are_chosen_by_name():
    assert [m.name for m in metrics.choose(["ssim", "psnr"])] == ["ssim", "psnr"]
    with pytest.raises(UsageError, match="no metric 'sharpness'; there are psnr"):
        metrics.choose(["sharpness"])


def test_smoothing_takes_noise_off_and_leaves_a_sharp_picture_alone():
    rng = np.random.default_rng(0)
    smooth = np.linspace(50, 200, 64)[:, None, None] + np.zeros((64, 64, 3))
    sharp = smooth.round().astype(np.uint8)
    noisy = (smooth + 15 * rng.standard_normal(smooth.shape)).round().astype(np.uint8)
    best = best_smoothing(noisy, sharp)
    assert psnr(best, sharp) > psnr(noisy, sharp) + 10
    np.testing.assert_array_equal(best_smoothing(sharp, sharp), sharp)


def test_sheet_has_a_cell_for_each_picture():
    sheet = picture_sheet([[picture(10), picture(200)]] * 3, ["a", "b"], side=25)
    assert sheet.size == (2 * (96 + 2), 18 + 3 * (20 + 2))
    assert sheet.getpixel((10, 30)) == (10, 10, 10)
    assert sheet.getpixel((98 + 10, 30)) == (200, 200, 200)


def test_what_sampling_does_not_change_is_measured_once(tmp_path):
    """Two points of a grid: the same tables as without, and half the work on the input."""
    calls = []

    def counted(image, sharp):
        calls.append(image.mean())
        return float(np.abs(image.astype(int) - sharp).mean())

    metric = metrics.PerImage("error", "error", 2, counted)

    def measure(folder, value, once):
        subject = Restored(Perfect(value))
        report = Report(tmp_path / folder, {"value": value}, [metric])
        return runner.evaluate(subject, gray_set(), [metric], report, once=once).table

    once = MeasuredOnce()
    shared = [measure(f"shared{value}", value, once) for value in (100, 60)]
    with_sharing = len(calls)
    alone = [measure(f"alone{value}", value, None) for value in (100, 60)]
    assert shared == alone
    # Blurry, smoothed and sample at the first point, then the sample alone.
    assert with_sharing == 3 * (3 + 1)
    assert len(calls) - with_sharing == 3 * (3 + 3)


def test_an_identical_picture_does_not_hide_the_others():
    """Its PSNR is infinite: the mean is of the others, and a line says so."""
    numbers = {"0": (90, 100), "1": (100, 100), "2": (95, 100)}

    def read(index):
        blurry, sharp = numbers[str(index)]
        return picture(blurry), picture(sharp)

    outcome = evaluate_set(pairs.Numbered("grays", 3, str, read))
    want = np.mean([20 * np.log10(255 / 10), 20 * np.log10(255 / 5)])
    assert outcome.means["blurry"]["psnr"] == pytest.approx(want, abs=0.01)
    assert "1 blurry pictures equal the sharp one; their psnr is not in the mean" in outcome.table
    assert outcome.means["sample"]["psnr"] == np.inf  # all of them are equal


def evaluate_set(chosen):
    return runner.evaluate(Restored(Perfect()), chosen, [metrics.PSNR])


def test_pictures_of_one_size_are_restored_together():
    """Four pairs of two sizes, one at a time and in batches: the same figures, fewer calls."""
    sides = [16, 24, 16, 16]

    def read(index):
        rng = np.random.default_rng(index)
        return tuple(rng.integers(0, 256, (sides[index], 16, 3), np.uint8) for _ in range(2))

    chosen = pairs.Numbered("two sizes", 4, str, read)
    alone, together = Perfect(), Perfect()
    one = runner.evaluate(Restored(alone), chosen, [metrics.PSNR])
    many = runner.evaluate(Restored(together, batch_size=4), chosen, [metrics.PSNR])
    assert one.means == many.means
    assert (alone.calls, together.calls) == (4, 2)
