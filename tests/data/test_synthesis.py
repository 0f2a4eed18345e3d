"""Named ways to blur whole photographs, and the programs that offer them."""

import ast
import pathlib

import numpy as np
import pytest
from PIL import Image

from deblur_tf.base.errors import DataError, UsageError
from deblur_tf.bin import data as data_program
from deblur_tf.data import synthesis
from deblur_tf.evaluation import pairs
from deblur_tf.metrics.psnr import psnr

BIN = pathlib.Path(data_program.__file__).parent


@pytest.mark.parametrize("name", synthesis.SYNTHESES)
def test_a_pair_has_the_photograph_without_its_margin(photos, name):
    make = synthesis.named(name)
    taken = [photos[i][:160, :200] for i in range(make.photos)]
    blurry, sharp = make(taken, np.random.default_rng(0), "a.png")
    assert blurry.shape == sharp.shape == (160 - 2 * make.margin, 200 - 2 * make.margin, 3)
    assert blurry.dtype == sharp.dtype == np.uint8
    assert 10 < psnr(blurry, sharp) < 45
    again = make(taken, np.random.default_rng(0), "a.png")
    np.testing.assert_array_equal(blurry, again[0])
    if name != "realistic":  # where something else may lie before it
        margin = make.margin
        np.testing.assert_array_equal(sharp, taken[0][margin:-margin, margin:-margin])


def test_longer_shake_is_worse(photos):
    taken = [photos[0]]
    values = [
        psnr(*synthesis.named(name)(taken, np.random.default_rng(3), "a.png"))
        for name in ("shake10", "shake20")
    ]
    assert values[0] > values[1] + 0.5


def test_what_cannot_be_is_named():
    with pytest.raises(UsageError, match="no synthesis 'fog'; one of dvsr, realistic"):
        synthesis.named("fog")
    tiny = np.zeros((60, 200, 3), np.uint8)
    with pytest.raises(DataError, match=r"tiny.png: smaller than 61 pixels"):
        synthesis.named("realistic")([tiny], np.random.default_rng(0), "tiny.png")


@pytest.mark.parametrize("program", ["evaluate", "data"])
def test_programs_offer_what_there_is(program):
    """They list the names without importing what would take seconds."""
    for node in ast.walk(ast.parse((BIN / f"{program}.py").read_text())):
        if isinstance(node, ast.Call) and node.args[:1] and isinstance(node.args[0], ast.Constant):
            if node.args[0].value == "blur" and node.func.attr == "DEFINE_enum":
                assert ast.literal_eval(node.args[2]) == list(synthesis.SYNTHESES)
                return
    pytest.fail(f"{program} has no --blur")


def test_evaluations_of_different_blur_are_told_apart(photos):
    sets = [pairs.synthetic(photos, 64, 0, name) for name in ("dvsr", "realistic")]
    assert sets[0].digest != sets[1].digest
    assert "realistic" in sets[1].title
    assert sets[1][1].sharp.shape == (64, 64, 3)


@pytest.mark.slow
def test_preview_writes_a_sheet(tmp_path):
    from tests.support.programs import run

    target = tmp_path / "preview.png"
    result = run("data", "preview", "-o", target, "--gin_param=PAIR_SIZE = 64")
    assert result.returncode == 0, result.stderr
    with Image.open(target) as sheet:
        assert sheet.width == 8 * (96 + 2)
        assert sheet.height == 18 + 6 * (64 + 2)


@pytest.mark.slow
def test_synth_writes_realistic_pairs(tmp_path):
    from tests.support.programs import run

    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        noise = Image.fromarray(rng.integers(0, 255, (20, 24, 3), dtype=np.uint8))
        noise.resize((150, 130)).save(tmp_path / "photos" / f"{name}.png")
    result = run(
        *("data", "synth", f"--photos={tmp_path / 'photos'}", "--blur=realistic"),
        *("-o", tmp_path / "pairs"),
    )
    assert result.returncode == 0, result.stderr
    pair = pairs.folder(tmp_path / "pairs")[1]
    assert pair.blurry.shape == (70, 90, 3)
