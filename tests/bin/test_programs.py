"""The programs as a user calls them."""

import csv
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from tests.support import ROOT
from tests.support.programs import run
from tests.support.programs_case import PROGRAMS, photo
from tests.support.training_case import SMALL


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_is_printed_without_loading_tensorflow(program):
    code = f"""
import sys
sys.modules["tensorflow"] = sys.modules["keras"] = None
sys.argv = ["{program}", "--help"]
from deblur_tf.bin import {program}
{program}.entry()
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "flags:" in result.stdout or program == "summary"
    assert len(result.stdout) > 150


def test_the_help_of_restoring_begins_with_what_most_people_need():
    """Each flag stands once, under its heading; the first six are the most important."""
    text = run("restore", "--help").stdout.partition("flags:")[2]
    listed = re.findall(r"^  (?:-\w, )?--(\w+)", text, re.MULTILINE)
    assert listed[:6] == ["input", "output", "overwrite", "n_samples", "fidelity", "always"]
    assert len(listed) == len(set(listed)) > 20
    headings = re.findall(r"^(\w.*):$", text, re.MULTILINE)
    assert headings[0] == "What and where"
    assert headings[-1] == "Others"
    assert {"describe", "import"} == set(listed[-2:])


@pytest.mark.parametrize(
    ("program", "arguments", "message"),
    [
        ("restore", ["--bogus=1"], "bogus"),
        ("restore", ["-i", "x.jpg"], "--output is missing"),
        ("restore", ["-i", "nowhere.jpg", "-o", "out"], "nowhere.jpg"),
        ("restore", ["-i", "x.jpg", "-o", "out", "--steps=0"], "steps"),
        ("restore", ["-i", "x.jpg", "-o", "out", "stray"], "stray"),
        ("train", [], "--gin_file is missing"),
        ("train", ["--gin_file=smoke.gin"], "--run_dir is missing"),
        ("train", ["--gin_file=smoke.gin", "--run_dir=x", "--stop_after=soon"], "25m, 90s"),
        ("export", [], "--output is missing"),
        ("evaluate", ["-o", "x"], "--photos or --pairs"),
    ],
)
def test_usage_errors_are_one_line(program, arguments, message):
    result = run(program, *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_bad_configurations_are_one_line(tmp_path):
    for arguments, message in (
        (["--gin_file=nothing.gin"], "smoke.gin"),
        (["--gin_file=smoke.gin", "--gin_param=UNet.base_chanels = 3"], "base_chanels"),
        (["--gin_file=smoke.gin", f"--photos={tmp_path}/none"], "none: no such folder"),
    ):
        result = run("train", *arguments, f"--run_dir={tmp_path}/run")
        assert result.returncode == 2, result.stderr
        assert message in result.stderr.splitlines()[-1]
        assert "Traceback" not in result.stderr
        assert not (tmp_path / "run").exists()


def test_a_device_that_is_not_there_is_an_error(tmp_path):
    result = run("train", "--gin_file=smoke.gin", f"--run_dir={tmp_path}/run", "--device=gpu")
    assert result.returncode == 2
    assert "--device=gpu" in result.stderr.splitlines()[-1]
    assert "(cpu)" in result.stderr.splitlines()[-1]
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("module", ["tensorflow", "tensorflow_datasets"])
def test_a_missing_package_is_one_line(module, tmp_path):
    (tmp_path / "data/set/config/1.0.0").mkdir(parents=True)
    arguments = ["--gin_file=smoke.gin", "--gin_file=data/tfds.gin", "--run_dir=run"]
    arguments += ["--gin_param=DATASET = 'set/config'", "--data_dir=data", *SMALL]
    code = f"""
import sys
from deblur_tf.bin import train
sys.modules["{module}"] = None
sys.argv = ["train", *{arguments!r}]
train.entry()
"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2, result.stderr
    last = result.stderr.splitlines()[-1]
    assert f"the package {module} is not installed; pip install {module.replace('_', '-')}" in last
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_a_plain_checkout_runs_without_installation(tmp_path):
    """As it lies in the repository: gin files and data sets beside the package."""
    root = ROOT
    for name in ("deblur_tf", "gin_configs", "datasets"):
        (tmp_path / name).symlink_to(root / name)
    (tmp_path / "setup.py").symlink_to(root / "setup.py")
    code = """
import deblur_tf.datasets, deblur_tf.gin_configs
from deblur_tf import config
config.load(["smoke.gin"])
print(deblur_tf.__path__[0], deblur_tf.gin_configs.__path__[0], deblur_tf.datasets.__path__[0])
"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    found = [pathlib.Path(path) for path in result.stdout.split()]
    assert found == [tmp_path / name for name in ("deblur_tf", "gin_configs", "datasets")]


@pytest.mark.parametrize("installed", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_package_does_not_contain_itself(tmp_path, installed):
    """Tools that walk packages come to an end, in a checkout and in an installation."""
    if installed:
        source = tmp_path / "source"  # building writes beside setup.py
        for name in ("deblur_tf", "gin_configs", "datasets"):
            shutil.copytree(ROOT / name, source / name)
        for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, source)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
        subprocess.run([*command, tmp_path, source], check=True)
    else:
        for name in ("deblur_tf", "gin_configs", "datasets", "setup.py", "tests"):
            (tmp_path / name).symlink_to(ROOT / name)
    code = """
import pkgutil, deblur_tf
for module in pkgutil.walk_packages(deblur_tf.__path__, "deblur_tf.", onerror=lambda name: None):
    print(module.name)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    names = result.stdout.split()
    assert "deblur_tf.networks.unet" in names
    wrong = ("deblur_tf.deblur_tf", "deblur_tf.tests", "deblur_tf.setup", "deblur_tf.benchmarks")
    assert not [name for name in names if name.startswith(wrong)]
    for name in wrong:
        command = [sys.executable, "-c", f"import {name}"]
        failed = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
        assert failed.returncode != 0, name


def test_dry_run_prints_the_configuration_and_writes_nothing(tmp_path):
    result = run("train", "--gin_file=smoke.gin", "--gin_param=CH = 4", "--dry_run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "CH = 4" in result.stdout
    assert "UNet.base_channels = %CH" in result.stdout
    *_, parameters, step, whole, memory = result.stdout.splitlines()
    assert parameters.endswith("M parameters")
    assert "TFLOP" in step
    assert "days of one device" in whole
    assert "GiB" in memory
    assert list(tmp_path.iterdir()) == []


def test_a_missing_model_has_its_own_exit_code(tmp_path):
    photo(tmp_path / "a.png")
    result = run("restore", "-i", tmp_path / "a.png", "-o", tmp_path / "out", "-m", "nothing")
    assert result.returncode == 3
    assert "no model 'nothing'" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_folder_with_a_bad_file_is_restored_all_the_same(tmp_path, micro_dir):
    source, out = tmp_path / "in", tmp_path / "out"
    photo(source / "a.png", 1)
    photo(source / "B.JPG", 2, (17, 31))
    (source / "bad.png").write_bytes(b"broken")
    arguments = ("-i", source, "-o", out, "-m", micro_dir, "--steps=2", "-n", "2", "--seed=5")
    result = run("restore", *arguments)
    assert result.returncode == 1, result.stderr
    assert "bad.png" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert sorted(p.name for p in out.iterdir()) == [
        "B.JPG", "B_s5_0.JPG", "B_s5_1.JPG", "B_uncertainty.png",
        "a.png", "a_s5_0.png", "a_s5_1.png", "a_uncertainty.png", "manifest.json",
    ]  # fmt: skip
    with Image.open(out / "B.JPG") as image:
        assert image.size == (31, 17)
    again = run("restore", *arguments)
    assert "2 already there, skipped" in again.stdout
    assert again.returncode == 1


def test_clashing_outputs_stop_before_any_work(tmp_path):
    source = tmp_path / "in"
    photo(source / "a.png")
    photo(source / "a.bmp")
    result = run("restore", "-i", source, "-o", tmp_path / "out", "--ext=png")
    assert result.returncode == 2
    assert "both be written" in result.stderr
    assert not (tmp_path / "out").exists()
    result = run("restore", "-i", source / "a.png", "-o", source)
    assert result.returncode == 2
    assert "overwrite its input" in result.stderr


@pytest.mark.slow
def test_summary_prints_a_table_and_csv(monkeypatch, capsys):
    """The three plain UNets; tests/models/test_architectures.py pins all nine."""
    from absl import flags

    from deblur_tf.bin import summary
    from deblur_tf.models import architectures

    rows = architectures.ARCHITECTURES[:3]
    monkeypatch.setattr(architectures, "ARCHITECTURES", rows)
    flags.FLAGS.mark_as_parsed()
    summary.main([])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("network")
    monkeypatch.setattr(flags.FLAGS["csv"], "value", True)
    summary.main([])
    found = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [r["params (M)"] for r in found] == ["1.633", "6.521", "26.065"]
    assert [r["GFLOPs"] for r in found] == ["300.2", "1197.6", "4784.2"]


@pytest.mark.slow
def test_a_row_is_evaluated_on_its_test_set(tmp_path, micro_dir):
    """The gin file names set, split and sampling; a grid gives a table a point."""
    from deblur_tf.datasets import pair_builder, prepare

    dummy = pathlib.Path(pair_builder.__file__).parent / "gopro" / "dummy_data"
    prepare.prepare("gopro", dummy, tmp_path / "data", subset=True)
    settings = (
        "--gin_file=papers/icdpm/table4/ours_sa.gin",
        "--gin_param=Protocol.dataset = 'gopro/blur_subset'",
        "--gin_param=Protocol.grid = ((1, 0.5), (2, 0.5))",
        f"--data_dir={tmp_path / 'data'}",
        "-n=2",
        f"-m={micro_dir}",
    )
    result = run("evaluate", *settings, "-o", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("| mean of 2 samples |") == 2
    assert result.stdout.count("| 2 gopro/blur_subset test, whole images |") == 2
    for point in ("T1_beta0.5_n2", "T2_beta0.5_n2"):
        figures = list(csv.DictReader((tmp_path / "out" / point / "figures.csv").open()))
        assert {r["image"] for r in figures} == {"GOPR0384_11_00-000047", "GOPR0384_11_00-000054"}
    result = run("evaluate", *settings, "--steps=3", "-o", tmp_path / "one")
    assert "3 step(s) of ddpm, beta_max 0.9" in result.stdout
    again = run("evaluate", *settings, "-o", tmp_path / "out")
    assert again.stdout.count("done before with these settings") == 2
    result = run("evaluate", "--gin_file=papers/icdpm/table5/ours.gin", *settings[3:], "-o", "x")
    assert result.returncode == 2
    assert "no prepared data set 'realblur_j/full'" in result.stderr


def test_configs_lists_and_compares():
    result = run("configs", "list")
    assert result.returncode == 0, result.stderr
    assert "papers/icdpm/table9/c.gin: icDPM Table 9 (c)" in result.stdout
    rows = [f"papers/icdpm/table10/{name}.gin" for name in ("add", "adagn")]
    result = run("configs", "diff", *rows)
    assert result.stdout.splitlines() == ["+ UNet.injection = 'adagn'"]
    for arguments in ([], ["diff"], ["diff", "nothing.gin", "smoke.gin"], ["diff", "smoke.gin"]):
        assert run("configs", *arguments).returncode == 2


@pytest.mark.slow
def test_a_trained_run_is_exported_and_guarded(tmp_path):
    run_dir = tmp_path / "run"
    settings = ("--gin_param=TOTAL_STEPS = 3", "--gin_param=WARMUP_STEPS = 1", *SMALL)
    result = run("train", "--gin_file=smoke.gin", f"--run_dir={run_dir}", *settings, eager=True)
    assert result.returncode == 0, result.stderr
    for name in ("config.gin", "model.json", "metrics.jsonl", "samples", "checkpoints"):
        assert (run_dir / name).exists()
    other = run("train", "--gin_file=smoke.gin", f"--run_dir={run_dir}", "--gin_param=CH = 6")
    assert other.returncode == 2
    assert "run of another model" in other.stderr
    result = run("export", "-m", run_dir, "-o", tmp_path / "saved")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "saved" / "1" / "saved_model.pb").is_file()
    assert run("export", "-m", run_dir, "-o", run_dir).returncode == 2
    result = run("export", "-m", run_dir, "-o", tmp_path / "folder", "--format=weights")
    assert result.returncode == 0, result.stderr
    assert sorted(p.name for p in (tmp_path / "folder").iterdir()) == ["model.json", "weights.npz"]


def test_shared_genuine_pairs_are_readable():
    """Uses the genuine sample where it is present; the layout is tested elsewhere."""
    root = pathlib.Path(os.environ.get("DEBLUR_TF_GOPRO", "../shared/data/gopro/test"))
    if not root.is_dir():
        pytest.skip("no genuine pairs on this machine")
    from deblur_tf.evaluation import pairs

    pair = pairs.folder(root)[0]
    assert pair.blurry.shape == (720, 1280, 3)


@pytest.mark.slow
def test_the_demo_of_run_sh(tmp_path):
    """All of it, made small: measure, restore, train, and the picture sheet."""
    result = run("demo", "-o", tmp_path / "demo", "--crop=64", "--steps=40")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "| one sample |" in result.stdout
    assert "| best Gaussian smoothing of each |" in result.stdout
    with Image.open(tmp_path / "demo" / "sheet.png") as sheet:
        assert sheet.width == 2 * (256 + 2)
        assert sheet.height == 18 + 5 * (64 + 2) + 18 + 192 + 2
    assert (tmp_path / "demo" / "table.md").is_file()


def test_a_backend_that_does_not_work_here_is_refused_before_anything_is_imported(tmp_path):
    env = {**os.environ, "KERAS_BACKEND": "torch"}
    command = [sys.executable, "-m", "deblur_tf.bin.summary"]
    result = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr == "error: KERAS_BACKEND=torch: there are tensorflow and jax here\n"
