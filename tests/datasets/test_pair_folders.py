"""Finding the pairs of a folder, and what is wrong with it."""

import pytest

from deblur_tf.base.errors import DataError
from deblur_tf.data.folders import PairFiles, find_pairs
from tests.support.datasets import save


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["blur/1.png", "blur/2.png", "sharp/1.png"], "1 without a sharp image: 2$"),
        (["a/LQ/1.png", "a/GT/1.png", "a/GT/3.png"], "1 without a blurry image: 3$"),
        (["blur/1.png", "sharp/2.png"], "1 without a sharp image: 1; 1 without a blurry image: 2"),
        (["blur/1.png"], "1 without a sharp image: 1$"),
        (["blur/1.png", "blur/1.jpg", "sharp/1.png"], "have one name"),
        (["photos/1.png"], "no folders of blurry and sharp images"),
    ],
)
def test_a_mismatch_lists_what_is_missing_on_which_side(tmp_path, names, message):
    for name in names:
        save(tmp_path / name)
    with pytest.raises(DataError, match=message):
        find_pairs(tmp_path)


def test_hidden_files_and_case_do_not_matter(tmp_path):
    save(tmp_path / "Blur" / "1.PNG")
    save(tmp_path / "Sharp" / "1.jpg")
    save(tmp_path / "__MACOSX" / "blur" / "._1.png")
    (tmp_path / "Blur" / "._1.png").write_bytes(b"resource fork")
    (pair,) = find_pairs(tmp_path)
    assert (pair.id, pair.blurry.name, pair.sharp.name) == ("1", "1.PNG", "1.jpg")


def test_damage_and_other_sizes_are_found_before_training(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "b.png", size=(20, 31))
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    PairFiles("x", tmp_path / "a.png", tmp_path / "a.png").check()
    with pytest.raises(DataError, match="differ in size: 30x20 and 31x20"):
        PairFiles("x", tmp_path / "a.png", tmp_path / "b.png").check()
    with pytest.raises(DataError, match=r"cut\.png: cannot be read"):
        PairFiles("x", tmp_path / "a.png", tmp_path / "cut.png").check()
