"""Preparing and reading data sets; TFDS's own tests are in datasets/."""

import importlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from deblur_tf.base.errors import DataError
from deblur_tf.data.tfds_pairs import TfdsImages, TfdsPairs
from deblur_tf.datasets import prepare
from tests.support.datasets import dummy, run, save
from tests.support.helpers import hears_ctrl_c

SHARED = pathlib.Path(os.environ.get("DEBLUR_TF_GOPRO", "../shared/data/gopro"))


class FakeDownloads:
    def __init__(self, manual_dir):
        self.manual_dir = manual_dir


def gopro_tree(root, flattened=False):
    """Empty files by the names of a complete GoPro."""
    from deblur_tf.datasets.gopro.gopro_dataset_builder import TEST_SCENES

    train = {f"GOPR{i:04d}_11_00": 100 for i in range(20)} | {"GOPR9000_11_00": 103}
    for split, scenes in (("train", train), ("test", TEST_SCENES)):
        for scene, count in scenes.items():
            for frame in range(count):
                for old, new in (("blur", "input"), ("sharp", "target")):
                    path = root / split / scene / old / f"{frame:06d}.png"
                    if flattened:
                        path = root / split / new / f"{scene}-{frame:06d}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.touch()


@pytest.mark.parametrize("flattened", [False, True])
def test_a_complete_gopro_passes_in_both_layouts_and_a_truncated_one_does_not(tmp_path, flattened):
    root = tmp_path / "manual" / ("GoPro" if flattened else "GOPRO_Large")
    gopro_tree(root, flattened)
    builder = prepare.builder("gopro", tmp_path / "data")
    splits = builder.find(FakeDownloads(tmp_path / "manual"))
    assert {name: len(pairs) for name, pairs in splits.items()} == {"train": 2103, "test": 1111}
    builder.check_counts(splits, "manual")
    assert splits["test"][0].id == "GOPR0384_11_00-000000"

    splits["test"] = [p for p in splits["test"] if not p.id.startswith("GOPR0410")][:-1]
    with pytest.raises(DataError) as caught:
        builder.check_counts(splits, "manual")
    for text in (
        "manual: this copy of gopro is not complete",
        "test has 976 pairs of 1111",
        "GOPR0410_11_00 0 of 134",
        "GOPR0881_11_01 99 of 100",
        "--subset",
    ):
        assert text in str(caught.value)
    assert "train has" not in str(caught.value)


def test_incomplete_copies_are_refused_and_leave_nothing(tmp_path):
    for name in ("gopro", "hide", "realblur_j", "rsblur", "reds", "div2k_blur"):
        with pytest.raises(DataError, match=f"this copy of {name} is not complete: train has"):
            prepare.prepare(name, dummy(name), tmp_path)
    assert not list(tmp_path.rglob("dataset_info.json"))


def test_a_subset_says_so_in_its_name_and_metadata(data_dir):
    made = prepare.prepare("gopro", None, data_dir, subset=True)  # already there
    assert made.info.full_name == "gopro/blur_subset/1.0.0"
    assert dict(made.info.metadata) == {"subset": True}
    assert TfdsPairs("gopro/blur_subset", data_dir, crop_size=8).describe().endswith("(a subset)")
    with pytest.raises(DataError, match=r"but not as 'gopro/blur': there is gopro/blur_subset"):
        TfdsPairs("gopro/blur", data_dir)
    with pytest.raises(DataError, match="it has train, test"):
        TfdsPairs("gopro/blur_subset", data_dir, split="validation")


def test_a_zip_is_as_good_as_a_folder(tmp_path, data_dir):
    source = dummy("gopro") / "GOPRO_Large"
    with zipfile.ZipFile(tmp_path / "GOPRO_Large.zip", "w") as archive:
        for path in source.rglob("*.png"):
            archive.write(path, path.relative_to(source.parent))
    prepare.prepare("gopro", tmp_path, tmp_path / "data", subset=True)
    for split in ("train", "test"):
        a, b = (TfdsImages("gopro/blur_subset", d, split) for d in (data_dir, tmp_path / "data"))
        assert len(a) == len(b) == 2
        for i in range(2):
            np.testing.assert_array_equal(a[i], b[i])


def test_what_is_read_is_what_was_there(data_dir):
    images = TfdsImages("gopro/blur_subset", data_dir, "test")
    root = dummy("gopro") / "GOPRO_Large" / "test" / "GOPR0384_11_00"
    assert [images.id(i) for i in range(2)] == ["GOPR0384_11_00-000047", "GOPR0384_11_00-000054"]
    for side, found in zip(("blur", "sharp"), images[1], strict=True):
        np.testing.assert_array_equal(found, np.asarray(Image.open(root / side / "000054.png")))


def test_val300_and_views_and_lists(tmp_path):
    prepare.prepare("reds", dummy("reds"), tmp_path, subset=True)
    images = TfdsImages("reds/blur_jpeg_subset", tmp_path, "val300")
    assert [images.id(i) for i in range(len(images))] == ["000-00000009", "001-00000009"]

    made = prepare.prepare("hide", dummy("hide"), tmp_path, subset=True)
    names = made.info.features["view"].names
    views = [names[e["view"]] for e in made.as_data_source("test")]
    assert sorted(views) == ["close-up", "long-shot"]

    broken = tmp_path / "broken"
    shutil.copytree(dummy("realblur_j"), broken)
    listing = broken / "RealBlur_J_test_list.txt"
    blurry_first = " ".join(reversed(listing.read_text().split()))
    listing.write_text(blurry_first)
    with pytest.raises(DataError, match="line 1: not"):
        prepare.prepare("realblur_j", broken, tmp_path / "data", subset=True)


def test_div2k_pairs_depend_on_photo_and_seed_alone(tmp_path):
    prepare.prepare("div2k_blur", dummy("div2k_blur"), tmp_path / "a", subset=True)
    fewer = tmp_path / "fewer"
    shutil.copytree(dummy("div2k_blur"), fewer)
    (fewer / "DIV2K_train_HR" / "0001.png").unlink()
    prepare.prepare("div2k_blur", fewer, tmp_path / "b", subset=True)
    a = TfdsImages("div2k_blur/shake_subset", tmp_path / "a")
    b = TfdsImages("div2k_blur/shake_subset", tmp_path / "b")
    assert a.id(1) == b.id(0) == "0002"
    np.testing.assert_array_equal(a[1], b[0])
    assert a[0][0].shape == (40 - 30, 48 - 30, 3)
    assert dict(a.info.metadata) == {"subset": True, "seed": 0}


def test_div2k_archives_have_registered_checksums():
    from deblur_tf.datasets.div2k_blur import div2k_blur_dataset_builder as div2k

    urls = {div2k.URL + name for name in div2k.ARCHIVES.values()}
    assert urls == set(div2k.Builder.url_infos)


def test_crops_are_pure_functions_shared_by_both_images(tmp_path):
    for i in range(5):
        pixels = save(tmp_path / "pairs" / "sharp" / f"{i}.png", i, (24, 32))
        Image.fromarray(255 - pixels).save(tmp_path / "pairs_blur.png")
        (tmp_path / "pairs" / "blur").mkdir(exist_ok=True)
        shutil.move(tmp_path / "pairs_blur.png", tmp_path / "pairs" / "blur" / f"{i}.png")
    prepare.prepare("folder", tmp_path / "pairs", tmp_path, config="mine")
    pairs = TfdsPairs("folder/mine", tmp_path, crop_size=16, crops_per_image=3)
    again = TfdsPairs("folder/mine", tmp_path, crop_size=16, crops_per_image=3, cache_bytes=0)
    assert pairs.describe() == "5 pairs of folder/mine train"
    seen = set()
    for index in (0, 7, 31, 2**62):
        blurry, sharp = pairs(index)
        np.testing.assert_array_equal(blurry, 255 - sharp)
        np.testing.assert_array_equal(sharp, again(index)[1])
        seen.add(sharp.tobytes())
    assert len(seen) == 4
    # A pair smaller than the crop is continued by reflection, both images alike.
    blurry, sharp = TfdsPairs("folder/mine", tmp_path, crop_size=64)(0)
    assert sharp.shape == (64, 64, 3)
    np.testing.assert_array_equal(blurry, 255 - sharp)


# deblur-data that stops in the middle of a preparation until it is interrupted.


HALFWAY = """
import sys, time
from deblur_tf.bin import data
from deblur_tf.datasets import pair_builder


def progress(items, total, label):
    for i, item in enumerate(items):
        if i == 5:
            print("halfway", file=sys.stderr, flush=True)
            time.sleep(600)
        yield item

pair_builder.progress = progress
data.entry()
"""


@pytest.mark.slow
def test_preparing_can_be_interrupted(tmp_path):
    """By a kill as well as by Ctrl-C: no data set, and the next try makes it."""
    for i in range(8):
        save(tmp_path / "pairs" / "blur" / f"{i}.png", i, (40, 50))
        save(tmp_path / "pairs" / "sharp" / f"{i}.png", i, (40, 50))
    flags = (f"--manual_dir={tmp_path / 'pairs'}", f"--data_dir={tmp_path / 'd'}")
    target = tmp_path / "d" / "folder" / "pairs"
    for number in (signal.SIGKILL, signal.SIGINT):
        process = subprocess.Popen(
            [sys.executable, "-c", HALFWAY, "prepare", "folder", *flags],
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=hears_ctrl_c,
        )
        while "halfway" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode in (-signal.SIGKILL, 130)
        assert "Traceback" not in errors
        assert not (target / "1.0.0").exists()
    result = run("prepare", "folder", *flags)
    assert result.returncode == 0, result.stderr
    assert "train: 8 pairs" in result.stdout
    assert [p.name for p in target.iterdir()] == ["1.0.0"]


def test_a_folder_is_prepared_once_and_under_a_plain_name(tmp_path):
    for name in ("one", "two"):
        save(tmp_path / name / "blur" / "1.png", 1, (40, 50))
        save(tmp_path / name / "sharp" / "1.png", 1, (40, 50))
    data = tmp_path / "d"
    prepare.prepare("folder", tmp_path / "one", data, config="mine")
    prepare.prepare("folder", tmp_path / "one", data, config="mine")
    with pytest.raises(DataError, match=r"was prepared from .*one, not from .*two"):
        prepare.prepare("folder", tmp_path / "two", data, config="mine")
    with pytest.raises(DataError, match="give a name of letters"):
        prepare.prepare("folder", tmp_path / "one", data, config="../evil")


def test_a_preparation_that_fails_leaves_no_folders(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError):
        prepare.prepare("gopro", tmp_path / "empty", tmp_path / "d")
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("name", "config", "make"),
    [
        ("hide", "test", lambda root: [root / "HIDE" / "test" / s for s in ("input", "target")]),
        ("reds", "blur_test", lambda root: [root / "val" / f"val_{s}" for s in ("blur", "sharp")]),
    ],
)
def test_the_test_images_alone_are_a_configuration(name, config, make, tmp_path, monkeypatch):
    """The papers' rows test on these; the training archives have 36 and 65 GB."""
    module = importlib.import_module(f"deblur_tf.datasets.{name}.{name}_dataset_builder")
    counts = {"train": 7, "test": 1, "validation": 1, "val300": 1}
    counts = {split: counts[split] for split in module.Builder.COUNTS}
    monkeypatch.setattr(module.Builder, "COUNTS", counts)
    for side in make(tmp_path / "m"):
        scene = "000/" if name == "reds" else ""
        save(side / f"{scene}00000009.png", 1, (40, 50))
    built = prepare.prepare(name, tmp_path / "m", tmp_path / "d", config=config)
    assert "train" not in built.info.splits
    assert all(built.info.splits[s].num_examples == 1 for s in built.info.splits)
    with pytest.raises(DataError, match="not complete"):
        prepare.prepare(
            name,
            tmp_path / "m",
            tmp_path / "e",
            config.replace("_test", "").replace("test", "full"),
        )


def test_the_shared_gopro_sample_prepares(tmp_path):
    """Genuine pairs, where they are present."""
    if not SHARED.is_dir():
        pytest.skip("no genuine pairs on this machine")
    made = prepare.prepare("gopro", SHARED, tmp_path, subset=True)
    counts = {name: split.num_examples for name, split in made.info.splits.items()}
    assert counts == {"train": 12, "test": 6}
    blurry, sharp = TfdsPairs("gopro/blur_subset", tmp_path)(0)
    assert blurry.shape == sharp.shape == (128, 128, 3)
    assert 0 < np.abs(blurry.astype(float) - sharp).mean() < 60
