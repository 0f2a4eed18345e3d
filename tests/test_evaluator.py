import numpy as np
import pytest
from PIL import Image

from deblur_tf.data.photos import DataError, open_photos
from deblur_tf.evaluation import evaluator


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def picture(value, height=40, width=50):
    return np.full((height, width, 3), value, np.uint8)


@pytest.mark.parametrize(
    ("blurry", "sharp"), [("blur", "sharp"), ("input", "target"), ("LQ", "GT")]
)
def test_pairs_are_matched_by_name(tmp_path, blurry, sharp):
    for scene, value in (("a", 10), ("b", 20)):
        save(tmp_path / scene / blurry / "1.png", picture(value))
        save(tmp_path / scene / sharp / "1.png", picture(value + 1))
    found = list(evaluator.folder_pairs(tmp_path, 16))
    assert [p.name for p in found] == ["a-1", "b-1"]
    assert found[1].blurry.shape == (16, 16, 3)
    assert (found[1].blurry[0, 0, 0], found[1].sharp[0, 0, 0]) == (20, 21)


def test_missing_partners_are_named_before_any_work(tmp_path):
    save(tmp_path / "blur" / "1.png", picture(1))
    with pytest.raises(DataError, match=r"1 without a sharp image: 1"):
        evaluator.folder_pairs(tmp_path, 0)
    save(tmp_path / "sharp" / "1.png", picture(1, 30))
    with pytest.raises(DataError, match="differ in size"):
        list(evaluator.folder_pairs(tmp_path, 0))


def test_synthetic_pairs_are_seeded_centre_crops():
    photos = open_photos(None)
    first = next(evaluator.synthetic_pairs(photos, 64, seed=1))
    again = next(evaluator.synthetic_pairs(photos, 64, seed=1))
    other = next(evaluator.synthetic_pairs(photos, 64, seed=2))
    np.testing.assert_array_equal(first.blurry, again.blurry)
    assert np.any(first.blurry != other.blurry)
    np.testing.assert_array_equal(first.sharp, evaluator.centre_crop(photos[0], 64))


class Perfect:
    """Returns the sharp image in every second sample, black in the others."""

    def __init__(self, sharp):
        self.sharp = sharp / 127.5 - 1.0

    def samples(self, blurry, n_samples):
        rows = [self.sharp if i % 2 == 0 else -np.ones_like(self.sharp) for i in range(n_samples)]
        return np.stack(rows).astype("float32")


def test_figures_table_and_files(tmp_path):
    pair = evaluator.Pair("x", picture(90), picture(100))
    result = evaluator.evaluate(Perfect(pair.sharp), pair, n_samples=2)
    assert result.figures["blurry"]["psnr"] == pytest.approx(20 * np.log10(255 / 10))
    assert result.figures["sample"]["psnr"] == np.inf
    assert result.figures["mean"]["psnr"] == pytest.approx(20 * np.log10(255 / 50))
    table = evaluator.table([result, result], 2)
    assert "| blurry input | 28.13 |" in table
    assert "mean of 2 samples" in table
    assert "| best Gaussian smoothing of each | 28.13 |" in table
    assert "mean of" not in evaluator.table([result], 1)
    evaluator.write_csv(tmp_path / "f.csv", [result])
    assert len((tmp_path / "f.csv").read_text().splitlines()) == 5


def test_smoothing_takes_noise_off_and_leaves_a_sharp_picture_alone():
    rng = np.random.default_rng(0)
    smooth = np.linspace(50, 200, 64)[:, None, None] + np.zeros((64, 64, 3))
    sharp = smooth.round().astype(np.uint8)
    noisy = (smooth + 15 * rng.standard_normal(smooth.shape)).round().astype(np.uint8)
    best = evaluator.best_smoothing(noisy, sharp)
    assert evaluator.psnr(best, sharp) > evaluator.psnr(noisy, sharp) + 10
    np.testing.assert_array_equal(evaluator.best_smoothing(sharp, sharp), sharp)


def test_sheet_has_a_cell_for_each_picture():
    sheet = evaluator.picture_sheet([[picture(10), picture(200)]] * 3, ["a", "b"], side=25)
    assert sheet.size == (2 * (25 + 2), 18 + 3 * (20 + 2))
    assert sheet.getpixel((10, 30)) == (10, 10, 10)
    assert sheet.getpixel((37, 30)) == (200, 200, 200)
