"""Sheets of several methods, and several grids in one plot."""

import numpy as np
import pytest
from PIL import Image

from deblur_tf.base.errors import DataError, UsageError
from deblur_tf.evaluation import comparison
from tests.support.programs import run


def pictures(folder, count=3, size=(40, 50), change=None):
    folder.mkdir()
    for i in range(count):
        pixels = np.full((*size, 3), 40 * i, np.uint8)
        if change:
            pixels[change] = 255
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return str(folder)


def test_the_window_is_where_pictures_differ(tmp_path):
    a, b = np.zeros((2, 60, 80, 3), np.uint8)
    b[33:40, 61:70] = 200
    rows, columns = comparison.detail([a, b], 16)
    assert rows.start <= 33 <= 39 < rows.stop
    assert columns.start <= 61 <= 69 < columns.stop
    assert comparison.detail([a, b], 500) == (slice(0, 60), slice(0, 80))


def test_a_sheet_has_a_column_for_each_folder(tmp_path):
    first = pictures(tmp_path / "first", 4)
    second = pictures(tmp_path / "second", 3, change=(slice(8, 12), slice(20, 30)))
    result = run("analyze", "compare", first, f"theirs={second}", "--crop=24", "-o", tmp_path)
    assert result.returncode == 0, result.stderr
    assert "3 pictures of 2 folders" in result.stdout
    sheet = np.asarray(Image.open(tmp_path / "comparison.png"))
    assert sheet.shape == (18 + 3 * 26, 2 * 98, 3)
    assert (sheet[18:42, 98:122] == 255).all(axis=-1).any()  # the changed pixels are in the window
    result = run("analyze", "compare", first, second, "--images=3", "-o", tmp_path)
    assert result.returncode == 2
    assert "3: no picture of that name in second" in result.stderr


def test_labels_are_those_given_or_the_folders():
    assert comparison.labelled(["a/b", "x=c/d"]) == {"b": "a/b", "x": "c/d"}
    with pytest.raises(UsageError, match="two folders are called 'b': give label=folder"):
        comparison.labelled(["a/b", "c/b"])


def grid(folder, rows):
    folder.mkdir()
    lines = ["kind,steps,beta_max,sampler,psnr,niqe,seconds"]
    lines += [f"sample,{t},0.5,ddpm,{p},{n},{s}" for t, p, n, s in rows]
    (folder / "grid.csv").write_text("\n".join([*lines, "mean,9,0.5,ddpm,99,0,1"]) + "\n")
    return str(folder)


def test_grids_of_two_models_are_drawn_over_each_other(tmp_path):
    a = grid(tmp_path / "a", [(10, 30, 6, 1.0), (50, 29, 4, 5.0), (20, 28, 5, 2.0)])
    b = grid(tmp_path / "b", [(10, 28, 5, 4.0), (50, 27, 4.5, 20.0)])
    text = comparison.grids({"a": a, "b": b}, tmp_path)
    assert "a: best niqe 4 with 50 steps, beta_max 0.5, 5 s per picture" in text
    assert "first over second: 0.25" in text
    assert Image.open(tmp_path / "grids.png").width > 400
    with pytest.raises(DataError, match="has no grid.csv"):
        comparison.grids({"c": str(tmp_path)}, tmp_path)
