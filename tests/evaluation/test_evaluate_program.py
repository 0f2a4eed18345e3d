"""deblur-evaluate and deblur-weights from the command line: folders, shards, grids."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from deblur_tf.base.errors import DataError, UsageError
from deblur_tf.evaluation import merging, results
from deblur_tf.evaluation.pairs import Pair
from deblur_tf.evaluation.subjects import Restored, picture_seed
from tests.support.evaluations import SCENES, figures, means
from tests.support.programs import run


def test_names_fit_whatever_the_layout(tree):
    sharp = results.find(tree / "test", results.SHARP)
    flat = results.find(tree / "theirs", set())
    blurry = results.find(f"{tree}/test/*/blur", set())
    assert list(sharp) == list(flat) == list(blurry) == [f"{scene}-000001" for scene in SCENES]
    assert all(path.parent.name == "sharp" for path in sharp.values())
    with pytest.raises(UsageError, match="holds blur and sharp; say which"):
        results.find(tree / "test", set())
    with pytest.raises(DataError, match="no pictures there"):
        results.find(f"{tree}/test/*/nothing", set())


def test_folders_are_measured_like_anything_else(tree, tmp_path):
    arguments = ("folders", f"--restored={tree}/theirs", f"--sharp={tree}/test")
    result = run("evaluate", *arguments, f"--blurry={tree}/test", "-o", tmp_path / "all")
    assert result.returncode == 0, result.stderr
    assert "| blurry input |" in result.stdout
    assert "| restored |" in result.stdout
    found = means(tmp_path / "all")
    assert found["restored"]["psnr"] > found["blurry"]["psnr"] + 5
    report = json.loads((tmp_path / "all" / "report.json").read_text())
    assert report["pictures"] == 3
    assert {"deblur_tf", "numpy", "keras"} <= set(report["versions"])
    with Image.open(tmp_path / "all" / "sheet.png") as sheet:
        assert sheet.size == (3 * 122, 18 + 3 * 102)
    one = run("evaluate", *arguments, "-o", tmp_path / "one", "--jobs=1")
    two = run("evaluate", *arguments, "-o", tmp_path / "two", "--jobs=2")
    assert one.returncode == two.returncode == 0
    assert figures(tmp_path / "one") == figures(tmp_path / "two")
    # The blurry pictures of the pairs' own layout, as somebody's results.
    run("evaluate", "folders", f"--restored={tree}/test/*/blur", arguments[2], "-o", tmp_path / "b")
    assert means(tmp_path / "b")["restored"]["psnr"] == found["blurry"]["psnr"]


def test_missing_pictures_are_named(tree, tmp_path):
    shutil.copytree(tree / "theirs", tmp_path / "theirs")
    (tmp_path / "theirs" / "scene1-000001.png").unlink()
    arguments = ["folders", f"--restored={tmp_path}/theirs", f"--sharp={tree}/test"]
    result = run("evaluate", *arguments, "-o", tmp_path / "out")
    assert result.returncode == 2
    assert "theirs lacks 1: scene1-000001 (--subset" in result.stderr
    result = run("evaluate", *arguments, "-o", tmp_path / "out", "--subset")
    assert result.returncode == 0, result.stderr
    assert "| 2 pictures of" in result.stdout
    (tmp_path / "theirs" / "scene0-000001.png").write_bytes(b"none")
    result = run("evaluate", *arguments, "-o", tmp_path / "bad", "--subset")
    assert result.returncode == 1
    assert "scene0-000001.png: cannot be read" in result.stderr
    assert "| 1 pictures of" in result.stdout


def test_shards_merge_into_what_one_process_measures(tree, tmp_path):
    """With a metric of sets too, whose features the shards keep."""
    from tests.support.graphs import mock_graph

    mock_graph(tmp_path / "classify_image_graph_def.pb")
    arguments = ["folders", f"--restored={tree}/theirs", f"--sharp={tree}/test"]
    arguments += ["--metrics=psnr,ssim,fid,kid", f"--metric_weights={tmp_path}"]
    arguments += ["--gin_param=inception_features.patch = (50, 60)"]
    assert run("evaluate", *arguments, "-o", tmp_path / "whole").returncode == 0
    folder = tmp_path / "parts"
    for i in (2, 1):
        result = run("evaluate", *arguments, "-o", folder, f"--shard={i}/2")
        assert result.returncode == 0, result.stderr
    merge = ["merge", folder / "shard2of2", folder / "shard1of2", *arguments[-2:]]
    result = run("evaluate", *merge, "-o", folder)
    assert result.returncode == 0, result.stderr
    assert (folder / "table.md").read_text() == (tmp_path / "whole" / "table.md").read_text()
    assert figures(folder) == figures(tmp_path / "whole")
    assert means(folder)["restored"]["fid"] > 0
    result = run("evaluate", "merge", folder / "shard2of2", *arguments[-2:], "-o", tmp_path / "x")
    assert result.returncode == 2
    assert "shards of 2 are missing: 1" in result.stderr
    for bad in ("0/2", "3/2", "two"):
        assert run("evaluate", *arguments, "-o", folder, f"--shard={bad}").returncode == 2


def test_merging_refuses_what_does_not_belong_together(tree, tmp_path):
    arguments = ["folders", f"--restored={tree}/theirs", f"--sharp={tree}/test"]
    run("evaluate", *arguments, "-o", tmp_path, "--shard=1/2")
    run("evaluate", *arguments, "-o", tmp_path, "--shard=2/2", "--limit=2")
    with pytest.raises(UsageError, match=r"other settings \(limit\)"):
        merging.merge([tmp_path / "shard1of2", tmp_path / "shard2of2"], tmp_path / "o", [])
    with pytest.raises(UsageError, match="not a finished evaluation"):
        merging.metric_names(tmp_path)
    with pytest.raises(UsageError, match="is one of the shards"):
        merging.merge([tmp_path / "shard1of2"], tmp_path / "shard1of2", [])
    run("evaluate", *arguments, "-o", tmp_path, "--shard=1/4")
    with pytest.raises(UsageError, match="number of shards"):
        merging.merge([tmp_path / "shard1of2", tmp_path / "shard1of4"], tmp_path / "o", [])


def test_other_pictures_of_the_same_names_are_measured_anew(tree, tmp_path):
    shutil.copytree(tree / "theirs", tmp_path / "theirs")
    arguments = ["folders", f"--restored={tmp_path}/theirs", f"--sharp={tree}/test"]
    arguments += ["--metrics=psnr", "-o", tmp_path / "out"]
    assert run("evaluate", *arguments).returncode == 0
    before = float(means(tmp_path / "out")["restored"]["psnr"])
    assert "done before" in run("evaluate", *arguments).stdout
    shutil.copy(tree / "test/scene0/sharp/000001.png", tmp_path / "theirs/scene0-000001.png")
    result = run("evaluate", *arguments)
    assert result.returncode == 0, result.stderr
    assert float(means(tmp_path / "out")["restored"]["psnr"]) != before
    assert "1 restored pictures equal the sharp one" in result.stdout


def test_one_small_picture_has_no_fid(tree, tmp_path):
    from tests.support.graphs import mock_graph

    mock_graph(tmp_path / "classify_image_graph_def.pb")
    arguments = ["folders", f"--restored={tree}/theirs", f"--sharp={tree}/test", "--limit=1"]
    arguments += ["--metrics=psnr,fid,kid", f"--metric_weights={tmp_path}", "-o", tmp_path / "o"]
    result = run("evaluate", *arguments)
    assert result.returncode == 0, result.stderr
    assert "| nan | nan |" in result.stdout
    assert "1 restored pictures have no fid" in result.stdout


def test_names_of_other_layouts(tmp_path):
    picture = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    for name in ("a/blur/1.png", "a/blur_gamma/1.png", "s/blur/blur_1.png", "s/gt/gt_1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(tmp_path / name)
    with pytest.raises(UsageError, match="blur and blur_gamma"):
        results.find(tmp_path / "a", results.BLURRY)
    assert list(results.find(f"{tmp_path}/a/blu?", set())) == ["1"]
    names = [list(results.find(f"{tmp_path}/s/{side}", set())) for side in ("blur", "gt")]
    assert names == [["1"], ["1"]]
    assert list(results.find(tmp_path / "s", results.SHARP)) == ["1"]


@pytest.mark.slow
def test_saved_pictures_give_the_figures_of_the_model(tree, tmp_path, micro_dir):
    model = tmp_path / "model"
    source = ["model", f"--pairs={tree}/test", "--steps=1", "--metrics=psnr,ssim", "-n", "2"]
    source += ["-m", micro_dir]
    result = run("evaluate", *source, "-o", model, "--save")
    assert result.returncode == 0, result.stderr
    found = means(model)
    for kind in ("sample", "mean"):
        pictures = ["folders", f"--restored={model}/pictures/{kind}"]
        pictures += [f"--sharp={model}/pictures/sharp", "--metrics=psnr,ssim"]
        result = run("evaluate", *pictures, "-o", tmp_path / kind)
        assert result.returncode == 0, result.stderr
        assert means(tmp_path / kind)["restored"] == found[kind]
    report = json.loads((model / "report.json").read_text())
    assert report["seconds_a_picture"] > 0
    assert report["settings"]["sampling"]["steps"] == 1
    again = run("evaluate", *source, "-o", model, "--save")
    assert "done before" in again.stdout


def test_usage_errors_of_evaluate_are_one_line(tmp_path):
    for arguments, message in (
        (["model", "-o", tmp_path], "give one of --photos"),
        (["everything", "-o", tmp_path], "unexpected 'everything'"),
        (["folders", "--sharp=x", "-o", tmp_path], "--restored is missing"),
        (["merge", "-o", tmp_path], "name the folders"),
        (["folders", "--restored=x", "--sharp=y"], "--output is missing"),
        (["folders", "--steps=3", "-o", tmp_path], "--steps is not of folders"),
        (["model", "--jobs=3", "-o", tmp_path], "--jobs is not of model"),
    ):
        result = run("evaluate", *arguments)
        assert result.returncode == 2
        assert message in result.stderr
        assert result.stderr.count("\n") == 1


def test_weights_from_the_command_line(tmp_path):
    from safetensors.numpy import save_file

    from tests.support.lpips_case import torch_arrays

    for name, arrays in zip(("trunk", "heads"), torch_arrays("alex"), strict=True):
        save_file(arrays, tmp_path / f"{name}.safetensors")
    source = [f"--{n}={tmp_path}/{n}.safetensors" for n in ("trunk", "heads")]
    result = run("weights", "convert", "lpips", *source, "-o", tmp_path)
    assert result.returncode == 0, result.stderr
    listed = run("weights", "list", "-o", tmp_path).stdout
    assert f"lpips_alex_v0.1.npz: {tmp_path}/lpips_alex_v0.1.npz  sha256 " in listed
    for arguments, message in (
        (["convert", "lpips", source[0]], "--heads is missing"),
        (["convert", "nothing"], "give one of: convert sd2"),
        (["make", "niqe"], "--photos is missing"),
        (["convert", "inception", source[0], "-o", tmp_path], "has no Conv2d_1a_3x3"),
        (["make", "niqe", source[0]], "--trunk is not of make niqe"),
    ):
        result = run("weights", *arguments)
        assert result.returncode == 2
        assert message in result.stderr


def test_processes_on_one_machine_give_one_report(tree, micro_dir, tmp_path):
    command = ["model", f"--pairs={tree}/test", "-m", micro_dir, "--metrics=psnr", "--steps=1"]
    for devices in (1, 2):
        result = run("evaluate", *command, f"--devices={devices}", "-o", tmp_path / str(devices))
        assert result.returncode == 0, result.stderr
    assert means(tmp_path / "2") == means(tmp_path / "1")
    assert "[1/2] scene0-000001" in result.stdout
    assert "[2/2] scene1-000001" in result.stdout
    for arguments, said in (
        (["--devices=2", "--shard=1/2"], "--devices and --shard"),
        (["--devices=none"], "--devices=none"),
    ):
        result = run("evaluate", *command, *arguments, "-o", tmp_path / "x")
        assert result.returncode == 2
        assert said in result.stderr


def test_each_picture_has_noise_of_its_own(micro_dir, tree):
    """The same for any order, and another for another seed or name."""
    seeds = {picture_seed(seed, name) for seed in (0, 1) for name in ("a", "b")}
    assert len(seeds) == 4
    assert picture_seed(0, "a") == picture_seed(0, "a")
    assert all(0 <= seed < 2**63 for seed in seeds)
    used = []

    class Fake:
        def settings(self, n_samples):
            return n_samples

        def draw(self, batch, seeds, n_samples, batch_size):
            used.extend(seeds)
            return np.zeros((n_samples, *batch.shape), np.float32)

    image = np.zeros((16, 16, 3), np.uint8)
    for name in ("a", "b", "a"):
        Restored(Fake(), seed=3).images([Pair(name, image, image)])
    assert used == [picture_seed(3, name) for name in ("a", "b", "a")]


def test_pictures_without_sharp_ones_are_measured_by_what_needs_none(photos, tmp_path):
    weights = tmp_path / "weights"
    for folder in (weights, tmp_path / "theirs"):
        folder.mkdir()
    for i in range(2):
        Image.fromarray(photos[i][:288, :288]).save(tmp_path / "theirs" / f"{i}.png")
    statistics = {"mu_pris_param": np.zeros((1, 36)), "cov_pris_param": np.eye(36)}
    np.savez(weights / "niqe_pris_params.npz", **statistics)
    arguments = ["folders", f"--restored={tmp_path}/theirs", f"--metric_weights={weights}"]
    result = run("evaluate", *arguments, "-o", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert list(means(tmp_path / "out")) == ["restored"]
    result = run("evaluate", *arguments, "--metrics=psnr", "-o", tmp_path / "psnr")
    assert result.returncode == 2
    assert "psnr compare with sharp pictures, of which there are none here" in result.stderr
