"""Restores photographs on an Apache Beam runner: several processes, a cluster, or a cloud.

Each photograph is an element. A worker copies it to its own disk, restores it there by a `Job`, as
the single command does, and puts the results in their place. Then it leaves an entry in a folder
of the output, so that a photograph that is tried again, because its worker died or the command
was given again, is not restored twice.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib
import io
import json
import pathlib
import tempfile
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.utils.shared import Shared

from deblur_tf.base.errors import DataError, Error
from deblur_tf.base.files import remove_partials
from deblur_tf.base.progress import bar
from deblur_tf.diffusion.sampling import SamplingSettings
from deblur_tf.image_files.listing import Source, Task
from deblur_tf.inference import remote_files
from deblur_tf.inference.manifest import MANIFEST_FILE, Manifest

# Folder in the output with an entry for each photograph, until the manifest is written.
ENTRIES = ".deblur-restore"
FAILED_FILE = "failed.json"
# Times that a pipeline is run if the runner itself does not restart what died.
ATTEMPTS = 3


@dataclasses.dataclass(frozen=True)
class Request:
    """How photographs are restored.

    Attributes:
      model: name of a model in the package, or a folder that all workers can read.
      options: further arguments of `Deblurrer.from_pretrained`.
      imports: modules that the model needs.
      output: folder of the results, on any of Beam's file systems.
      sampling: how to sample.
      job: further arguments of `Job`.
    """

    model: str
    options: dict[str, Any]
    imports: tuple[str, ...]
    output: str
    sampling: SamplingSettings
    job: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Item:
    """A photograph.

    Attributes:
      path: where the photograph is, on any of Beam's file systems.
      relative: its path below the folder that was given.
      target: path of its result below the output, with forward slashes.
      samples, uncertainty: the same of the files beside the result, see `Task`.
      entry: what the manifest says about the result.
    """

    path: str
    relative: str
    target: str
    samples: tuple[str, ...]
    uncertainty: str | None
    entry: dict[str, Any] | None

    def outputs(self) -> Iterator[str]:
        """All output files below the output; the result is the last."""
        yield from self.samples
        if self.uncertainty is not None:
            yield self.uncertainty
        yield self.target


class _Restore(beam.DoFn):
    """Restores items; a worker process loads the model once."""

    def __init__(self, request: Request):
        self._request = request
        self._shared = Shared()

    def setup(self) -> None:
        """Loads the model, unless another thread of the process has."""
        from deblur_tf.base import quiet

        quiet.start()
        from deblur_tf.inference.deblurrer import Deblurrer

        for module in self._request.imports:
            importlib.import_module(module)
        self._deblurrer = self._shared.acquire(
            lambda: Deblurrer.from_pretrained(self._request.model, **self._request.options)
        )

    def process(self, item: Item) -> Iterator[str]:  # type: ignore[override]
        """Yields the name of the result, once it and its entry are written."""
        with tempfile.TemporaryDirectory() as folder:
            try:
                entry = self._restored(item, pathlib.Path(folder))
            except Error as error:
                entry = {"failed": str(error).replace(folder, "").strip()}
            _write_entry(self._request.output, item.target, entry)
        yield item.target

    def _restored(self, item: Item, folder: pathlib.Path) -> dict[str, Any]:
        """The manifest's entry of a photograph whose results are in their place.

        Raises:
          Error: if this photograph cannot be restored.
        """
        from deblur_tf.inference.job import Job

        request, source = self._request, folder / "in" / item.relative
        # An entry that is still there is of this command: a worker or the launcher died since.
        if (made := _read_entry(request.output, item.target)) and "made_of" in made:
            return made
        known = made or item.entry or {}
        ours = set(known.get("outputs", []))
        try:
            remote_files.fetch(item.path, source)
        except Exception as error:  # whatever a file system raises
            raise DataError(f"{item.path}: cannot be read ({error})") from error
        errors: list[Exception] = []
        output = folder / "out"
        output.mkdir()
        job = Job(self._deblurrer, request.sampling, output, on_error=errors.append, **request.job)
        there = [name for name in (*ours, *item.outputs()) if self._exists(name)]
        if not job.overwrite:
            if known.get("made_of") == job.made_of(source) and ours <= set(there):
                return known
            for name in item.outputs():
                if name in there and name not in ours:
                    raise DataError(
                        f"{remote_files.join(request.output, name)}: exists, and is no result "
                        f"that this folder's {MANIFEST_FILE} knows; --overwrite replaces it"
                    )
        task = Task(
            Source(source, pathlib.Path(item.relative)),
            output / item.target,
            tuple(output / name for name in item.samples),
            None if item.uncertainty is None else output / item.uncertainty,
        )
        with contextlib.redirect_stdout(io.StringIO()):
            job.run([task])
        if errors:
            raise DataError(f"{errors[0]}".replace(str(source), item.path)) from errors[0]
        entry = job.manifest.files[item.target]
        made = set(entry["outputs"])
        unfinished = {"unfinished": True, "outputs": sorted(made | ours)}
        _write_entry(request.output, item.target, unfinished)
        for name in [n for n in item.outputs() if n in made]:  # the result last
            remote_files.put(output / name, remote_files.join(request.output, name))
        remote_files.delete([remote_files.join(request.output, n) for n in ours - made])
        return entry

    def _exists(self, name: str) -> bool:
        return remote_files.exists(remote_files.join(self._request.output, name))


def _entry_path(output: str, target: str) -> str:
    digest = hashlib.sha256(target.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return remote_files.join(output, f"{ENTRIES}/{digest}.json")


def _write_entry(output: str, target: str, entry: dict[str, Any]) -> None:
    content = json.dumps({"target": target, "entry": entry}).encode()
    remote_files.put(content, _entry_path(output, target))


def _read_entry(output: str, target: str) -> dict[str, Any] | None:
    """The entry of a photograph that an earlier attempt has left, if it was not refused then."""
    found = remote_files.read_json(_entry_path(output, target))
    entry = found["entry"] if found else None
    return None if entry is None or "failed" in entry else entry


@contextlib.contextmanager
def manifest_of(output: str) -> Iterator[Manifest]:
    """The manifest of an output folder, with what an earlier command left unfinished.

    While the context lasts no other process of this machine writes to a folder of this machine.
    Its end completes the manifest.

    Raises:
      UsageError: if another process is writing to the folder.
    """
    if not remote_files.is_remote(output):
        manifest = Manifest(output)
        with manifest.held():
            _collect(output, manifest)
            yield manifest
            _collect(output, manifest)
            remove_partials(output)  # of workers that died
        return
    with tempfile.TemporaryDirectory() as folder:
        there = remote_files.join(output, MANIFEST_FILE)
        if remote_files.exists(there):
            remote_files.fetch(there, pathlib.Path(folder, MANIFEST_FILE))
        manifest = Manifest(folder)
        _collect(output, manifest)
        yield manifest
        _collect(output, manifest)
        remote_files.put(pathlib.Path(folder, MANIFEST_FILE), there)


def _collect(output: str, manifest: Manifest) -> dict[str, dict[str, Any]]:
    """Moves the entries that workers have left into the manifest, but for those of failures.

    Returns:
      All of them, by the name of the result.
    """
    paths = remote_files.files_below(remote_files.join(output, ENTRIES), "*.json")
    read = [content for path in paths if (content := remote_files.read_json(path))]
    found = {content["target"]: content["entry"] for content in read}
    manifest.merge({name: entry for name, entry in found.items() if "failed" not in entry})
    remote_files.delete(paths)
    if not remote_files.is_remote(output):
        with contextlib.suppress(OSError):  # it is not there, or not empty
            pathlib.Path(output, ENTRIES).rmdir()
    return found


def restore(
    request: Request,
    items: Sequence[Item],
    manifest: Manifest,
    runner: str,
    options: Sequence[str] = (),
    progress: bool = False,
) -> dict[str, str]:
    """Restores photographs on a runner.

    A pipeline that ends with an error, such as that a worker died on a runner that does not
    replace it, is run again; what is done stays done.

    Args:
      request: how.
      items: what, see `bulk_plan.items`.
      manifest: of the output, see `manifest_of`; gets an entry for each result.
      runner: name of a runner, e.g. DirectRunner, FlinkRunner, DataflowRunner.
      options: the runner's options, as on its command line.
      progress: show a progress bar on stderr.

    Returns:
      The reason for each photograph that could not be restored, by the name of its result.

    Raises:
      DataError: if the pipeline failed `ATTEMPTS` times.
    """
    arguments = ["--default_sdk_harness_log_level=ERROR", f"--runner={runner}", *options]
    for attempt in range(1, ATTEMPTS + 1):
        reason = None
        with _counted(request.output, len(items), progress):
            try:
                # Each photograph is an element of its own, so that it can go to any worker.
                with beam.Pipeline(options=PipelineOptions(arguments)) as pipeline:
                    photographs = pipeline | beam.Create(list(items), reshuffle=True)
                    done = photographs | beam.ParDo(_Restore(request))
                    # Beam's local runner notices that a worker died where it waits for output.
                    _ = done | beam.combiners.Count.Globally()
            except Exception as error:  # whatever a runner raises
                reason = error
        found = _collect(request.output, manifest)
        failed = {name: entry["failed"] for name, entry in found.items() if "failed" in entry}
        # With `overwrite` too, what this command has made is not made again.
        left = [item for item in items if "made_of" not in found.get(item.target, {})]
        if reason is None or not left:
            return failed
        text = " ".join(str(reason).split())[:300]
        print(f"the pipeline stopped ({text}); {len(left)} photograph(s) are left", flush=True)
        if attempt < ATTEMPTS:
            print("it is run again; what is there is kept", flush=True)
            items = [
                dataclasses.replace(item, entry=manifest.files.get(item.target)) for item in left
            ]
    raise DataError(
        f"--beam_runner={runner}: the pipeline failed {ATTEMPTS} times; give the same command "
        "again to restore what is missing"
    )


@contextlib.contextmanager
def _counted(output: str, total: int, show: bool) -> Iterator[None]:
    """A progress bar that counts the entries of finished photographs every few seconds."""
    if not show:
        yield
        return
    ended = threading.Event()
    with bar(total=total, unit="photo", show=True) as photos:

        def count() -> None:
            while not ended.wait(2.0):
                found = remote_files.files_below(remote_files.join(output, ENTRIES), "*.json")
                photos.update(len(found) - photos.n)

        thread = threading.Thread(target=count, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def summary(items: Sequence[Item], manifest: Manifest) -> str:
    """What became of the photographs, and the means of what was measured."""
    entries = [manifest.files.get(item.target, {}) for item in items]
    entries = [entry for entry in entries if "made_of" in entry]
    copied, left = (sum(kind in entry for entry in entries) for kind in ("copied", "left"))
    lines = [f"{len(entries)} of {len(items)} are there"]
    if copied:
        lines[0] += f", {copied} sharp already and copied"
    if left:
        lines[0] += f", {left} left as they were since no result was sharper"
    scores = [entry["psnr"] for entry in entries if entry.get("psnr") is not None]
    if scores:
        lines.append(f"mean PSNR of {len(scores)}: {sum(scores) / len(scores):.2f} dB")
    return "\n".join(lines)


def write_failures(output: str, failed: dict[str, str]) -> None:
    """Writes failed.json, the reason by the name of the result; deletes it if nothing failed."""
    path = remote_files.join(output, FAILED_FILE)
    if failed:
        remote_files.put(json.dumps(failed, indent=1).encode() + b"\n", path)
    else:
        remote_files.delete([path])
