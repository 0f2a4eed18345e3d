"""deblur-data, as it is typed."""

import numpy as np
from PIL import Image

from deblur_tf.data.folders import find_pairs
from tests.support.datasets import run, save


def test_data_programs(tmp_path, data_dir):
    for arguments, message in (
        ([], "One of prepare, inspect, synth"),
        (["fetch"], "unknown command 'fetch'"),
        (["prepare"], "which data set"),
        (["prepare", "imagenet"], "there are gopro, hide"),
        (
            ["prepare", "gopro", "--config=gray", f"--data_dir={tmp_path}"],
            "it has blur, blur_gamma",
        ),
        (["prepare", "gopro", f"--data_dir={tmp_path}"], "GOPRO_Large.zip (about 9 GB"),
        (["inspect", "gopro/blur", f"--data_dir={tmp_path}"], "deblur-data prepare gopro"),
        (["synth", f"--photos={tmp_path}"], "--output is missing"),
    ):
        result = run(*arguments)
        assert (result.returncode, result.stdout) == (2, ""), result.stderr
        assert message in result.stderr
        assert "Traceback" not in result.stderr

    result = run("inspect", "gopro/blur_subset", "--data_dir", data_dir, "-o", tmp_path / "a.png")
    assert result.returncode == 0, result.stderr
    assert "train: 2 pairs; sizes of 2 looked at: 24x16 (2)" in result.stdout
    with Image.open(tmp_path / "a.png") as sheet:
        assert sheet.size == (3 * 98, 18 + 4 * 18)


def test_synth_makes_pairs_that_prepare_takes(tmp_path):
    for name in ("a", "b"):
        save(tmp_path / "photos" / f"{name}.png", ord(name), (50, 60))
    (tmp_path / "photos" / "bad.png").write_bytes(b"broken")
    settings = ("synth", "--photos", tmp_path / "photos", "-o", tmp_path / "pairs")
    result = run(*settings)
    assert result.returncode == 1
    assert "2 pairs written" in result.stdout
    assert "bad.png" in result.stderr
    first = {p: p.read_bytes() for p in (tmp_path / "pairs").rglob("*.png")}
    (tmp_path / "photos" / "bad.png").unlink()
    save(tmp_path / "photos" / "0.png", 5, (50, 60))
    assert "1 pairs written" in run(*settings).stdout
    assert all(p.read_bytes() == data for p, data in first.items())
    pairs = find_pairs(tmp_path / "pairs")
    assert [p.id for p in pairs] == ["0", "a", "b"]
    blurry, sharp = pairs[1].read()
    assert sharp.shape == (20, 30, 3)
    assert np.any(blurry != sharp)
