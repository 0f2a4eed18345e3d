"""Settings along the measured curve of perception against distortion."""

import json

import pytest

from deblur_tf.base.errors import UsageError
from deblur_tf.diffusion.fidelity import FidelityCurve, curve_of
from deblur_tf.diffusion.sampling import SamplingSettings
from deblur_tf.inference.deblurrer import Deblurrer

ONE = SamplingSettings(steps=1)

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
