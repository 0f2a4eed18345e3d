"""Restoring on a runner of Apache Beam: the same as the single command, and nothing twice."""

import json
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from PIL import Image

beam = pytest.importorskip("apache_beam")

from apache_beam.io.localfilesystem import LocalFileSystem

from deblur_tf.base.errors import DataError, UsageError
from deblur_tf.inference import bulk, bulk_plan, remote_files
from deblur_tf.inference.deblurrer import Deblurrer
from tests.support.programs import run


class Disk(LocalFileSystem):
    """A file system with a scheme, as that of a cloud: disk://a is /a."""

    @classmethod
    def scheme(cls):
        return "disk"

    @staticmethod
    def _inner(path):
        return path.removeprefix("disk:/")

    def split(self, path):
        head, tail = os.path.split(path)
        return head, tail

    def match(self, patterns, limits=None):
        found = super().match([self._inner(p) for p in patterns], limits)
        for result in found:
            for metadata in result.metadata_list:
                metadata.path = f"disk:/{metadata.path}"
        return found

    def create(self, path, mime_type="", compression_type="auto"):
        pathlib.Path(self._inner(path)).parent.mkdir(parents=True, exist_ok=True)
        return super().create(self._inner(path), mime_type, compression_type)

    def open(self, path, mime_type="", compression_type="auto"):
        return super().open(self._inner(path), mime_type, compression_type)

    def exists(self, path):
        return super().exists(self._inner(path))

    def rename(self, source_file_names, destination_file_names):
        return super().rename(*([self._inner(p) for p in ps] for ps in
                                (source_file_names, destination_file_names)))  # fmt: skip

    def delete(self, paths):
        return super().delete([self._inner(p) for p in paths])


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name in ("a.png", "b.jpg", "sub/a.png", "sub/c.tif"):
        pixels = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / name)
    (tmp_path / "in" / "damaged.png").write_bytes(b"no picture")
    return tmp_path


JOB = {
    **{"seed": 3, "color_guard": False, "keep_sharp": True, "always": True},
    **{"overwrite": False, "sharp_folder": None, "batch_size": 1},
}


def on_a_runner(micro_dir, folder, given=None, output=None, **job):
    """Restores in this process; returns what failed and the manifest's entries."""
    output = output or str(folder / "out")
    os.makedirs(remote_files.is_remote(output) and output.removeprefix("disk:/") or output,
                exist_ok=True)  # fmt: skip
    sampling = Deblurrer.from_pretrained(micro_dir).settings(n_samples=2)
    request = bulk.Request(str(micro_dir), {"precision": "fp32"}, (), output, sampling, JOB | job)
    with bulk.manifest_of(output) as manifest:
        items = bulk_plan.items([given or str(folder / "in")], True, request, "auto", "", manifest)
        failed = bulk.restore(request, items, manifest, "FnApiRunner")
        return failed, dict(manifest.files), bulk.summary(items, manifest)


def pictures(folder):
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.suffix != ".json"
    }


def test_a_runner_makes_what_the_single_command_makes(micro_dir, folder):
    flags = ["-m", micro_dir, "-n", "2", "--seed=3", "--always", "--precision=fp32"]
    single = run("restore", "-i", "in", "-o", "single", *flags, cwd=folder)
    assert single.returncode == 1
    failed, entries, words = on_a_runner(micro_dir, folder)
    assert list(failed) == ["damaged.png"]
    assert "in/damaged.png: cannot be read as an image" in failed["damaged.png"]
    assert words == "4 of 5 are there"
    assert pictures(folder / "out") == pictures(folder / "single")
    assert len(pictures(folder / "out")) == 4 * 4
    want = json.loads((folder / "single" / "manifest.json").read_text())["files"]
    for entry in (*entries.values(), *want.values()):
        entry.pop("seconds")
    assert entries == want
    # The single command takes these results for its own.
    again = run("restore", "-i", "in", "-o", "out", *flags, cwd=folder)
    assert "4 already there, skipped" in again.stdout


def test_what_is_there_is_not_made_again(micro_dir, folder):
    on_a_runner(micro_dir, folder)
    before = {p: p.stat().st_mtime_ns for p in (folder / "out").rglob("*.png")}
    Image.new("RGB", (24, 20)).save(folder / "in" / "new.png")
    on_a_runner(micro_dir, folder)
    assert (folder / "out" / "new.png").exists()
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert not (folder / "out" / bulk.ENTRIES).exists()
    (folder / "out" / "manifest.json").unlink()  # now they are somebody else's
    failed, _, _ = on_a_runner(micro_dir, folder)
    assert "--overwrite replaces it" in failed["a.png"]
    failed, entries, _ = on_a_runner(micro_dir, folder, overwrite=True)
    assert list(failed) == ["damaged.png"]
    assert len(entries) == 5


def test_entries_of_a_command_that_died_are_collected(micro_dir, folder):
    """The worker had written its results, and the launcher was gone before the manifest was."""
    _, entries, _ = on_a_runner(micro_dir, folder)
    (folder / "out" / "manifest.json").unlink()
    for target, entry in entries.items():
        bulk._write_entry(str(folder / "out"), target, entry)
    failed, found, _ = on_a_runner(micro_dir, folder)
    assert list(failed) == ["damaged.png"]
    assert found == entries


def test_other_file_systems(micro_dir, folder):
    """Paths with a scheme are read and written through Beam, patterns included."""
    elsewhere = f"disk:/{folder}"
    on_a_runner(micro_dir, folder)
    _, entries, _ = on_a_runner(
        micro_dir, folder, f"{elsewhere}/in", f"{elsewhere}/out/of/another/kind"
    )
    assert set(entries) == {"a.png", "b.jpg", "sub/a.png", "sub/c.tif"}
    found = pictures(folder / "out" / "of" / "another" / "kind")
    assert found.items() <= pictures(folder / "out").items()
    assert (folder / "out/of/another/kind/manifest.json").exists()

    def names(given, recursive=True):
        return [s.relative.as_posix() for _, s in remote_files.search(given, recursive, "disk://o")]

    assert names(f"{elsewhere}/in/*.png") == ["a.png", "damaged.png"]
    assert names(f"{elsewhere}/in", recursive=False) == ["a.png", "b.jpg", "damaged.png"]
    assert names(f"{elsewhere}/in/sub/c.tif") == ["c.tif"]
    with pytest.raises(UsageError, match="no photographs there"):
        names(f"{elsewhere}/nothing")


def test_a_pipeline_that_keeps_failing_says_so(micro_dir, folder, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(remote_files, "put", full)
    with pytest.raises(DataError, match="failed 3 times; give the same command again"):
        on_a_runner(micro_dir, folder)
    assert "it is run again" in capsys.readouterr().out


def test_what_a_failed_attempt_has_made_is_not_made_again(micro_dir, folder, monkeypatch):
    """With `overwrite` too: each result is written once, whatever happens to the pipeline."""
    put, written = remote_files.put, []

    def once(source, path):
        if path.endswith(("a.png", "b.jpg", ".tif")) and "_s" not in path:
            written.append(path)
            if len(written) == 2:
                raise OSError(5, "the worker died")
        put(source, path)

    on_a_runner(micro_dir, folder)
    monkeypatch.setattr(remote_files, "put", once)
    failed, entries, _ = on_a_runner(micro_dir, folder, overwrite=True)
    assert list(failed) == ["damaged.png"]
    assert len(entries) == 4
    assert len(written) == 5  # four results, and the one that was cut short
    assert not list((folder / "out").rglob("*.partial"))


@pytest.mark.slow
def test_one_of_two_workers_is_killed(micro_dir, tmp_path):
    """All photographs are there, none was made twice, and all are those of one process.

    60 photographs; `PHOTOS` in the environment makes more.
    """
    count = int(os.environ.get("PHOTOS", "60"))
    (tmp_path / "in").mkdir()
    for i in range(count):
        pixels = np.random.default_rng(i).integers(0, 256, (32, 40, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{i:03d}.png")
    command = ["-i", "in", "-m", str(micro_dir), "--always", "--nokeep_sharp", "--precision=fp32"]
    single = run("restore", *command, "-o", "single", cwd=tmp_path)
    assert single.returncode == 0, single.stderr
    runner = ["--beam_runner=FnApiRunner", "--beam_options=--direct_num_workers=2"]
    runner += ["--beam_options=--direct_running_mode=multi_processing"]
    process = subprocess.Popen(
        [sys.executable, "-m", "deblur_tf.bin.restore", *command, "-o", "out", *runner],
        **{"cwd": tmp_path, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True},
    )
    out, deadline = tmp_path / "out", time.monotonic() + 240
    while len(list(out.glob("*.png"))) < count // 4:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    workers = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "sdk_worker_main" in " ".join(child.cmdline()) and not child.children()
    ]
    assert len(workers) == 2, workers
    workers[0].kill()
    at_the_kill = {p: p.stat().st_mtime_ns for p in out.glob("*.png")}
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors[-3000:]
    assert "the pipeline stopped" in output
    assert f"{count} of {count} are there" in output
    assert len(at_the_kill) < count
    assert pictures(out) == pictures(tmp_path / "single")
    # A result that its worker had written, but not yet recorded, may have been written again.
    again = [p for p, when in at_the_kill.items() if p.stat().st_mtime_ns != when]
    assert len(again) <= 2
    entries = json.loads((out / "manifest.json").read_text())["files"]
    assert len(entries) == count
    assert all("made_of" in entry for entry in entries.values())
    assert not (out / bulk.ENTRIES).exists()
