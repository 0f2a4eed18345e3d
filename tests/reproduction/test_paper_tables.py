"""The papers' figures as data, and our networks beside them."""

import json
from importlib import resources

import numpy as np
import pytest

from deblur_tf import config
from deblur_tf.diffusion.sampling import SamplingSettings
from deblur_tf.evaluation.protocols import Protocol, dvsr_grid, icdpm_grid
from deblur_tf.models.architectures import ARCHITECTURES
from deblur_tf.models.regression import Regression
from tests.support import DATA

TABLES = json.loads((resources.files("deblur_tf.reproduction") / "paper_tables.json").read_text())
ICDPM, DVSR = TABLES["icdpm"], TABLES["dvsr"]


def rows(table):
    return {row["name"]: row for row in table["rows"]}


def test_all_tables_are_there_and_rectangular():
    assert [n for n in ICDPM if n.startswith("table")] == [f"table{i}" for i in range(1, 14)]
    assert list(DVSR) == [f"table{i}" for i in range(1, 5)]
    for table in (*ICDPM.values(), *DVSR.values()):
        for row in table["rows"]:
            assert list(row) == ["name", *table["columns"]]


def test_table_3_is_the_mean_of_tables_4_to_7():
    """For all six methods, within the rounding of the printed figures."""
    parts = [rows(ICDPM[f"table{i}"]) for i in (4, 5, 6, 7)]
    for name, row in rows(ICDPM["table3"]).items():
        for metric, digit in {
            "LPIPS": 3,
            "NIQE": 2,
            "KID": 2,
            "PSNR": 2,
            "SSIM": 3,
            "FID": 2,
        }.items():
            mean = np.mean([part[name][metric] for part in parts])
            assert row[metric] == pytest.approx(mean, abs=0.51 * 10**-digit + 0.003), (name, metric)


@pytest.mark.parametrize(("table", "whole"), [(ICDPM["table8"], 1.0), (DVSR["table3"], 100.0)])
def test_preferences_are_complementary(table, whole):
    found = rows(table)
    for a in table["columns"]:
        for b in table["columns"]:
            if a != b:
                assert found[a][b] + found[b][a] == pytest.approx(whole, abs=1e-6)


def test_methods_that_both_papers_print_agree_but_for_known_digits():
    known = {("MIMO-UNet+", "PSNR")}
    new, old = rows(ICDPM["table4"]), rows(DVSR["table1"])
    pairs = {n: n for n in new if n in old and not n.startswith("Ours")}
    pairs |= {"DvSR": "Ours", "DvSR-SA": "Ours-SA"}
    for a, b in pairs.items():
        for metric in ICDPM["table4"]["columns"]:
            if (a, metric) not in known:
                assert new[a][metric] == old[b][metric], (a, metric)


def test_the_sampling_grids_have_the_printed_size():
    grid = icdpm_grid()
    for row in ICDPM["table12"]["rows"]:
        assert sum(t == int(row["name"]) for t, _ in grid) == row["combinations"]
    assert len(grid) == 19
    assert len(dvsr_grid()) == 48
    assert tuple((p.steps, p.beta_max) for p in Protocol(grid=grid).points()) == grid
    assert Protocol(steps=7).points() == (SamplingSettings(7, None, 1),)


def architecture_of(model):
    """The row of `ARCHITECTURES` that has the channels of a model not yet built.

    tests/models/test_architectures.py pins parameters and FLOPs of each.
    """
    guide = getattr(model, "guidance", None)
    regression = isinstance(model, Regression)
    unet = model.predictor if regression else model.unet
    channels = (guide and guide.base_channels, unet.base_channels)
    (found,) = (
        a
        for a in ARCHITECTURES
        if (a.guide_channels, a.unet_channels) == channels and a.regression == regression
    )
    return found


@pytest.mark.parametrize("row", ICDPM["table2"]["rows"], ids=lambda row: row["row"])
def test_table_2_rows_are_the_networks_of_table_13(row):
    config.load([f"papers/icdpm/table2/{row['row']}.gin"])
    found = architecture_of(config.build("Recipe").model())
    printed = rows(ICDPM["table13"])[row["name"]]
    assert (found.unet_channels, found.guide_channels) == (row["ch"], row["guide_ch"])
    assert (printed["ch"], printed["guide_ch"]) == (row["ch"], row["guide_ch"])
    assert (found.paper_params, found.paper_gflops) == (printed["params_M"], printed["GFLOPs"])
    assert found.name == row["name"]


@pytest.mark.parametrize("row", DVSR["table4"]["rows"], ids=lambda row: row["name"])
def test_dvsr_table_4_rows_are_the_printed_networks_and_batches(row):
    config.load([f"papers/dvsr/table4/{row['name']}.gin"])
    recipe = config.build("Recipe")
    found = architecture_of(recipe.model())
    assert found.unet_channels == row["ch"]
    assert (found.paper_params, found.paper_gflops) == (row["params_M"], row["GFLOPs"])
    assert recipe.batch_size == row["batch"]
    assert (recipe.ema_decay > 0) == row["ema"]


def test_the_models_of_figure_6_have_the_printed_size():
    """33 M against 28 M (DvSR sec. 6.1)."""
    pins = json.loads((DATA / "gin_pins.json").read_text())
    for name, millions in (("residual", 33), ("non_residual", 28)):
        assert round(pins[f"papers/dvsr/figure6/{name}.gin"][0] / 1e6) == millions
