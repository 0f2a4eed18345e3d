"""Sampling grids of deblur-evaluate: tables, plots, and the point that a row chooses."""

import csv
import json

import pytest
from PIL import Image

from deblur_tf import config
from deblur_tf.base import bindings
from deblur_tf.diffusion.sampling import SamplingSettings
from deblur_tf.evaluation import grid, protocols
from tests.support.programs import run

PROTOCOLS = ("gopro-v1", "hide-v1", "realblur_j-v1", "reds300-v1", "div2k-v1", "dvd-v1")


@pytest.mark.slow
def test_a_grid_has_a_table_a_plot_and_its_best_points(tree, tmp_path, micro_dir):
    arguments = ["model", f"--pairs={tree}/test", "--limit=1", "--metrics=psnr,ssim", "-n", "2"]
    arguments += ["-m", micro_dir]
    result = run("evaluate", *arguments, "--points=1:0.9,2:0.9", "-o", tmp_path)
    assert result.returncode == 0, result.stderr
    with open(tmp_path / "grid.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["kind"], r["steps"]) for r in rows] == [
        *(("sample", "1"), ("mean", "1"), ("sample", "2"), ("mean", "2"))
    ]
    means_of = {r["steps"]: float(r["psnr"]) for r in rows if r["kind"] == "mean"}
    best = max(means_of, key=means_of.get)
    assert f"Ours-SA (best psnr of the mean): {best} steps" in result.stdout
    assert "Ours: needs lpips_alex" in result.stdout
    with Image.open(tmp_path / "grid.png") as plot:
        assert min(plot.size) > 300
    assert run("evaluate", *arguments, "--points=1-0.9", "-o", tmp_path).returncode == 2
    result = run("evaluate", *arguments, "--points=1:0.9", "--steps=2", "-o", tmp_path)
    assert result.returncode == 2
    assert "--points has steps and beta_max" in result.stderr


def test_the_best_point_follows_the_rule():
    found = [
        {"kind": "sample", "steps": s, "beta_max": 0.1, "lpips_alex": x}
        for s, x in ((100, 0.2), (20, 0.1), (50, 0.1), (30, float("nan")))
    ]
    assert grid.best(found, "sample", "lpips_alex", -1)["steps"] == 20
    assert grid.best(found, "mean", "psnr", 1) is None
    assert protocols.read_points(["20:0.5"]) == ((20, 0.5),)
    assert grid.folder_name(SamplingSettings(20, 0.5)) == "T20_beta0.5"


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocols_are_named_and_versioned(name):
    config.load([f"protocols/{name}.gin"])
    protocol = config.build("Protocol")
    assert protocol.name == name
    assert {"lpips_alex", "niqe", "fid", "kid"} <= set(protocol.metrics)
    assert ("psnr_aligned" in protocol.metrics) == (name == "realblur_j-v1")
    assert "inception_features.patch = (240, 256)" in bindings.all_bindings()


def test_a_row_chooses_a_point_of_its_grid_and_measures_that(tree, micro_dir, tmp_path):
    """Grid, choice and measurement are one command, for processes that share the pictures too."""
    grid = "Protocol.grid = ((1, 0.9), (2, 0.8))"
    choose = "Protocol.choose = 'psnr'"
    command = [
        "model",
        f"--pairs={tree}/test",
        "-m",
        micro_dir,
        "--gin_file=protocols/gopro-v1.gin",
    ]
    command += [f"--gin_param={grid}", f"--gin_param={choose}", "--metrics=psnr,ssim"]
    result = run("evaluate", *command, "-o", tmp_path / "row")
    assert result.returncode == 0, result.stderr
    points = {
        point: json.loads((tmp_path / "row/grid" / point / "report.json").read_text())
        for point in ("T1_beta0.9", "T2_beta0.8")
    }
    assert all(list(p["means"]["sample"]) == ["psnr"] for p in points.values())
    best = max(points, key=lambda name: points[name]["means"]["sample"]["psnr"])
    report = json.loads((tmp_path / "row" / "report.json").read_text())
    assert report["choice"] == "best psnr of 2 points of the grid"
    assert f"T{report['settings']['sampling']['steps']}_" in best
    assert set(report["means"]["sample"]) == {"psnr", "ssim"}
    assert report["settings"]["row"]["gin_files"] == ["protocols/gopro-v1.gin"]
    assert report["settings"]["row"]["pictures"] == 1111
    part = tmp_path / "part"
    first = run("evaluate", *command, "--shard=1/2", "-o", part)
    assert first.returncode == 75, first.stderr  # the other part of the grid is not there
    assert "give the same command again" in first.stderr
    second = run("evaluate", *command, "--shard=2/2", "-o", part)
    assert second.returncode == 0, second.stderr
    assert not (part / "report.json").exists()  # at the chosen point, part 1 is missing
    again = run("evaluate", *command, "--shard=1/2", "-o", part)
    assert again.returncode == 0, again.stderr
    merged = json.loads((part / "report.json").read_text())
    for key in ("means", "choice", "pictures", "settings"):
        assert merged[key] == report[key]


def test_a_grid_also_over_the_number_of_samples(tmp_path):
    """DvSR's fig. 1 and 7: points that differ in n alone share the row of their single sample."""
    points = protocols.Protocol(grid=((10, 0.5), (10, 0.5, 4), (20, 0.5))).points()
    assert [p.n_samples for p in points] == [1, 4, 1]
    assert [grid.folder_name(p) for p in points] == [
        *("T10_beta0.5", "T10_beta0.5_n4", "T20_beta0.5")
    ]
    for i, point in enumerate(points):
        means = {"sample": {"psnr": 20.0 + i}}
        if point.n_samples > 1:
            means["mean"] = {"psnr": 30.0}
        folder = tmp_path / grid.folder_name(point)
        folder.mkdir()
        (folder / "report.json").write_text(json.dumps({"means": means, "seconds_a_picture": 1.0}))
    found = [
        (r["kind"], r["steps"], r["n_samples"], r["psnr"]) for r in grid.rows(tmp_path, points)
    ]
    assert found == [("sample", 10, 1, 20.0), ("mean", 10, 4, 30.0), ("sample", 20, 1, 22.0)]
    assert grid.chosen(tmp_path, points, "mean", "psnr") == points[1]
    assert grid.chosen(tmp_path, points, "sample", "psnr") == points[2]
    tradeoff = protocols.dvsr_tradeoff()
    assert (len(tradeoff), tradeoff[48:]) == (52, tuple((10, 0.5, n) for n in (2, 4, 8, 16)))
