"""A folder of photographs: what the manifest decides, failures, truth."""

import dataclasses
import json
import subprocess
import sys

import pytest
from PIL import Image

from deblur_tf.base.errors import UsageError
from deblur_tf.image_files import listing
from deblur_tf.inference.job import Job
from deblur_tf.inference.manifest import Manifest
from tests.support.jobs import ONE, restore


def test_the_manifest_decides_what_is_made_again(deblurrer, folder):
    _, errors, new, _ = restore(deblurrer, folder)
    assert (errors, new) == ([], {"a.png", "b.jpg", "sub/a.png"})
    manifest = json.loads((folder / "out" / "manifest.json").read_text())
    entry = manifest["files"]["sub/a.png"]
    assert entry["made_of"]["settings"] == dataclasses.asdict(ONE)
    assert entry["made_of"]["model"] == deblurrer.fingerprint()
    assert entry["versions"]["deblur_tf"]
    assert (entry["width"], entry["height"]) == (24, 20)

    job, _, new, _ = restore(deblurrer, folder)
    assert new == set()
    assert "3 already there" in job.summary()
    assert restore(deblurrer, folder, seed=1)[2] == {"a.png", "b.jpg", "sub/a.png"}
    Image.new("RGB", (24, 20), "red").save(folder / "in" / "a.png")  # another picture
    assert restore(deblurrer, folder, seed=1)[2] == {"a.png"}
    assert restore(deblurrer, folder, seed=1, overwrite=True)[2] == {"a.png", "b.jpg", "sub/a.png"}


def test_two_processes_do_not_share_a_folder(deblurrer, folder):
    """Each would forget what the other made; a lock ends with its process, however that ends."""
    code = (
        "import sys, time; from deblur_tf.inference.manifest import Manifest\n"
        "with Manifest(sys.argv[1]).held(): print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(folder / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match=f"process {other.pid} on .* is writing there"):
            restore(deblurrer, folder)
        other.kill()
    assert restore(deblurrer, folder)[2] == {"a.png", "b.jpg", "sub/a.png"}


def test_what_the_manifest_does_not_know_is_not_replaced(deblurrer, folder):
    (folder / "out" / "b.jpg").write_bytes(b"mine")
    _, errors, new, failed = restore(deblurrer, folder)
    assert new == {"a.png", "sub/a.png"}
    assert [p.name for p in failed] == ["b.jpg"]
    assert "manifest.json knows; --overwrite replaces it" in str(errors[0])
    assert (folder / "out" / "b.jpg").read_bytes() == b"mine"
    assert restore(deblurrer, folder, overwrite=True)[1] == []


def test_a_picture_that_was_begun_is_made_again(deblurrer, folder):
    restore(deblurrer, folder)
    target, old = folder / "out" / "b.jpg", folder / "out" / "b_s0_0.jpg"
    manifest = Manifest(folder / "out")
    manifest.record(target, [target, old], {"source": "of other settings"})
    manifest.begin(target, [target])  # a crash while it was written
    old.write_bytes(b"a sample that is not of it any more")
    journal = folder / "out" / "manifest.journal"
    journal.write_text(journal.read_text() + '{"a.png": {"unfin')
    assert restore(deblurrer, folder)[2] == {"b.jpg"}
    assert not journal.exists()
    assert not old.exists()
    assert set(Manifest(folder / "out").files) == {"a.png", "b.jpg", "sub/a.png"}


def test_a_manifest_that_cannot_be_read(deblurrer, folder):
    (folder / "out" / "manifest.json").write_text("{")
    with pytest.raises(UsageError, match=r"manifest\.json: cannot be read"):
        restore(deblurrer, folder)


def test_one_failure_stops_no_other(deblurrer, folder):
    (folder / "in" / "aa.png").write_bytes(b"broken")
    (folder / "out" / "sub").write_bytes(b"a file where a folder must be")
    _, errors, new, failed = restore(deblurrer, folder)
    assert new == {"a.png", "b.jpg"}
    assert [p.name for p in failed] == ["aa.png", "a.png"]
    for error, path in zip(errors, failed, strict=True):
        assert str(path) in str(error)


def test_truth_is_measured(deblurrer, folder):
    for name in ("a.png", "b.jpg", "sub/a.png"):
        target = folder / "gt" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(folder / "in" / name).convert("RGB").save(target.with_suffix(".bmp"))
    Image.new("RGB", (5, 5)).save(folder / "gt" / "a.blur.bmp")  # of another name, "a.blur"
    job, errors, _, _ = restore(deblurrer, folder, sharp_folder=str(folder / "gt"))
    assert errors == []
    assert "mean of 3: PSNR" in job.summary()
    entry = json.loads((folder / "out" / "manifest.json").read_text())["files"]["a.png"]
    assert 0 < entry["psnr"] < 60
    (folder / "gt" / "b.bmp").unlink()
    _, errors, _, _ = restore(deblurrer, folder, sharp_folder=str(folder / "gt"), overwrite=True)
    assert "no sharp photograph of" in str(errors[0])
    (folder / "gt" / "b.bmp").write_bytes((folder / "gt" / "a.bmp").read_bytes())
    job, errors, new, _ = restore(deblurrer, folder, sharp_folder=str(folder / "gt"))
    assert new == set()
    assert "mean of 3: PSNR" in job.summary()  # those that are there are measured too


def test_results_beside_their_inputs_are_no_inputs(deblurrer, folder):
    place = folder / "in"
    for run in range(2):
        made = Manifest(place).everything()
        sources = listing.search([str(place)], True, place, made).sources
        assert len(sources) == 3
        tasks = listing.plan(sources, place, suffix="_s")
        job = Job(deblurrer, ONE, place)
        assert job.run(tasks) == []
        assert job._there == 3 * run


def test_what_a_killed_writer_left_is_removed_and_nothing_else(deblurrer, folder):
    from deblur_tf.base import files

    out = folder / "out"
    (out / "sub").mkdir()
    for name in (".deblur_tf-ab12.partial", "sub/.deblur_tf-cd34.partial", "film.partial"):
        (out / name).write_bytes(b"half")
    with files.replacing(out / "x.txt") as file:
        file.write(b"whole")
        assert len(list(out.glob(".deblur_tf-*.partial"))) == 2
    restore(deblurrer, folder)
    assert [p.name for p in out.rglob("*.partial")] == ["film.partial"]
