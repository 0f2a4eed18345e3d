"""Spaces, residuals, diversity and means, and the program that draws them."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from deblur_tf.evaluation import analyses
from deblur_tf.models import saved
from tests.support.conditional_models import dvsr
from tests.support.graphs import mock_graph
from tests.support.helpers import randomize
from tests.support.models import MODELS
from tests.support.programs import run


@pytest.fixture(scope="module")
def places(tmp_path_factory, photos):
    """Folders: pairs, two models, and weights that make an Inception of three layers."""
    root = tmp_path_factory.mktemp("places")
    for i in range(3):
        for side in ("blur", "sharp"):
            path = root / "pairs" / side / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(photos[0][30 * i : 30 * i + 240, :256]).save(path)
    for name, make in (("guided", MODELS["small"]), ("refine", dvsr)):
        model = make()
        model.build()
        saved.save_model(randomize(model, scale=0.05), root / name, dtype="float32")
    (root / "weights").mkdir()
    mock_graph(root / "weights" / "classify_image_graph_def.pb")
    return root


def test_entropy_closed_forms():
    even = analyses.Entropy()
    even.add(np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3))
    assert even.result() == pytest.approx(8.0)
    two = analyses.Entropy()
    two.add(np.array([-255, 255]))
    two.add(np.array([-255, 255, 255, -255]))
    assert two.result() == pytest.approx(1.0)


def test_sharpness_and_diversity():
    rng = np.random.default_rng(0)
    sharp = rng.integers(0, 256, (20, 30, 3)).astype(np.uint8)
    assert analyses.sharpness(sharp, sharp) == 1.0
    assert analyses.sharpness(np.full_like(sharp, 9), sharp) == 0.0
    same = np.repeat(np.float32(sharp)[None] / 127.5 - 1, 3, axis=0)
    assert analyses.diversity(same, sharp) == 0.0
    spread = same + np.array([-0.2, 0.0, 0.2], "float32")[:, None, None, None]
    # Variance 0.01 of [0, 1] in each of 1800 values.
    laplacian = analyses.diversity(spread, sharp) / (0.01 * np.sqrt(1800))
    assert analyses.diversity(2 * spread, sharp) > 3 * analyses.diversity(spread, sharp)
    assert laplacian == pytest.approx(1 / analyses._norm(analyses._laplacian(sharp)), rel=1e-4)


def test_principal_components_of_a_known_plane():
    rows, columns = np.mgrid[0:20, 0:30] / 10.0
    features = np.stack([3 * rows, 0.5 * columns, 0 * rows, 0 * rows], axis=-1)
    found = analyses.principal(features)
    assert found.shape == (20, 30, 3)
    assert np.all(np.diff(found[:, 0, 0].astype(int)) >= 0)
    assert np.all(np.diff(found[0, :, 1].astype(int)) >= 0)
    assert np.ptp(found[..., 0]) == np.ptp(found[..., 1]) == 255


@pytest.mark.slow
def test_table_3_from_reports(tmp_path):
    for name, value in (("a", 20.0), ("b", 30.0)):
        (tmp_path / name).mkdir()
        report = {
            "labels": {"sample": "one sample"},
            "means": {"sample": {"psnr": value} | ({"niqe": 3.0} if name == "a" else {})},
            "metrics": {"psnr": {"label": "PSNR (dB)"}, "niqe": {"label": "NIQE"}},
        }
        (tmp_path / name / "report.json").write_text(json.dumps(report))
    result = run("analyze", "means", tmp_path / "a", tmp_path / "b")
    assert result.stdout.splitlines()[0] == "| mean of 2 sets | PSNR (dB) |"
    assert result.stdout.splitlines()[-1] == "| one sample | 25 |"
    assert run("analyze", "means", tmp_path).returncode == 2


@pytest.mark.slow
def test_spaces_of_two_sets(places, tmp_path):
    sides = [f"--first={places}/pairs", f"--second={places}/pairs/sharp"]
    model = ["-m", places / "guided", f"--metric_weights={places}/weights"]
    result = run("analyze", "spaces", *sides, *model, "-o", tmp_path)
    assert result.returncode == 0, result.stderr
    with open(tmp_path / "spaces.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["name"], r["scale"]) for r in rows[:3]] == [
        *(("Input", "1"), ("Input downsampled", "2"), ("Guidance output", "2"))
    ]
    assert len(rows) == 7
    for row in rows:  # both sides have the same pictures
        assert float(row["FID"]) == pytest.approx(0, abs=1e-6)
    result = run("analyze", "spaces", *sides, "-m", places / "refine", *model[2:], "-o", tmp_path)
    assert result.returncode == 3  # features of another model are not taken


@pytest.mark.parametrize(
    ("command", "model", "sheet", "columns", "says"),
    [
        ("guidance", "guided", "guidance.png", 10, "3 rows in"),
        pytest.param(
            *("residual", "refine", "residual.png", 5, "entropy of 3 pictures: sharp "),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *("diversity", "guided", "diversity.png", 6, "3 pictures: rank correlation"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_figures(command, model, sheet, columns, says, places, tmp_path):
    more = {"guidance": [], "residual": ["--steps=2"], "diversity": ["--steps=2", "-n", "2"]}
    result = run(
        "analyze",
        command,
        f"--pairs={places}/pairs",
        "-m",
        places / model,
        "-o",
        tmp_path,
        "--crop=64",
        *more[command],
    )
    assert result.returncode == 0, result.stderr
    assert says in result.stdout
    with Image.open(tmp_path / sheet) as made:
        assert made.width % columns == 0
    if command == "diversity":
        with Image.open(tmp_path / "sharpness.png") as plot:
            assert plot.width > 300


def test_kernels_are_drawn_without_a_model(tmp_path):
    assert run("analyze", "kernels", "-o", tmp_path).returncode == 0
    with Image.open(tmp_path / "kernels.png") as made:
        pixels = np.asarray(made)
    assert pixels.max() == 255
    assert (pixels[..., 0] == pixels[..., 2]).all()
    assert pixels.std() > 20


def test_the_pictures_and_the_sampling_of_a_row(places, tmp_path):
    """A row's figure needs its test set, and says so at once."""
    row = "--gin_file=papers/dvsr/table1/ours.gin"
    command = ("analyze", "residual", row, f"--data_dir={tmp_path}", "-m", places / "refine")
    result = run(*command, "-o", tmp_path)
    assert result.returncode == 2
    assert "gopro/blur" in result.stderr
    result = run(*command, f"--pairs={places}/pairs", "-o", tmp_path)
    assert "give --gin_file, --photos or --pairs" in result.stderr


def test_models_of_another_kind_are_refused(places, tmp_path):
    for command, model, message in (
        ("guidance", "refine", "no guidance network"),
        ("residual", "guided", "no first prediction"),
    ):
        arguments = ["analyze", command, f"--pairs={places}/pairs", "-m", places / model]
        result = run(*arguments, "-o", tmp_path)
        assert result.returncode == 3
        assert message in result.stderr
    assert run("analyze", "everything").returncode == 2
