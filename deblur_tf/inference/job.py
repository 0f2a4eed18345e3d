"""Restores many photographs; a failure does not stop the others, and results are kept."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from deblur_tf.base.errors import DataError, Error
from deblur_tf.base.files import replacing, sha256
from deblur_tf.base.progress import bar
from deblur_tf.base.words import in_words, printable
from deblur_tf.diffusion.sampling import SamplingSettings
from deblur_tf.image_files.listing import Task
from deblur_tf.image_files.reading import Photo, open_image, read_photo, to_8_bits
from deblur_tf.image_files.writing import FORMATS, check_size, write_photo
from deblur_tf.inference import memory, triage, uncertainty
from deblur_tf.inference.deblurrer import Deblurrer
from deblur_tf.inference.manifest import Manifest
from deblur_tf.inference.pictures import mean_image
from deblur_tf.inference.truth import Truth


@dataclasses.dataclass(frozen=True)
class _Work:
    """A photograph that was read and is to be restored.

    Attributes:
      task: the photograph and its output files.
      photo: its pixels.
      made_of: see `Job.made_of`.
      ours: files that were made from it before.
      truth: the true sharp picture, if the result is to be measured.
      label: what the lines about it begin with.
      about: what the manifest will say about it.
      seconds: time spent on it so far.
    """

    task: Task
    photo: Photo
    made_of: dict[str, Any]
    ours: set[pathlib.Path]
    truth: pathlib.Path | None
    label: str
    about: dict[str, Any]
    seconds: float


class Job:
    """Restores photographs with one model and the same settings.

    Args:
      deblurrer: the model.
      sampling: how to sample it.
      output: existing folder for the results.
      seed: any 64-bit integer.
      color_guard: see `Deblurrer.restore`.
      keep_sharp: copy photographs that are sharp already.
      always: write the restored picture even if it is no sharper than the photograph;
        otherwise the photograph is copied then.
      overwrite: restore photographs again whose results exist already.
      sharp_folder: folder of the true sharp pictures to measure the results against; None:
        nothing is measured.
      batch_size: photographs of one size, or samples of one, that are computed at a time.
      progress: show progress bars on stderr.
      on_error: called with the error of each file that fails, as soon as it does.
    """

    def __init__(
        self,
        deblurrer: Deblurrer,
        sampling: SamplingSettings,
        output: pathlib.Path,
        seed: int = 0,
        color_guard: bool = False,
        keep_sharp: bool = True,
        always: bool = False,
        overwrite: bool = False,
        sharp_folder: str | None = None,
        batch_size: int = 1,
        progress: bool = False,
        on_error: Callable[[Exception], Any] = print,
    ):
        self.deblurrer, self.sampling, self.seed = deblurrer, sampling, seed
        self.color_guard, self.keep_sharp, self.overwrite = color_guard, keep_sharp, overwrite
        self.always = always
        self._truth = None if sharp_folder is None else Truth(sharp_folder)
        self.batch_size = batch_size
        self.progress, self.on_error = progress, on_error
        self.manifest = Manifest(output)
        self._own = {
            "model": deblurrer.fingerprint(),
            "precision": deblurrer.precision,
            "seed": seed,
            "settings": dataclasses.asdict(sampling),
            "color_guard": color_guard,
            "keep_sharp": keep_sharp,
            "always": always,
        }
        self._there = self._copied = self._left = 0
        self._sizes: dict[pathlib.Path, int] = {}
        self._told = 0

    def run(self, tasks: Sequence[Task]) -> list[pathlib.Path]:
        """Restores all; returns the photographs that failed.

        Photographs that follow each other and have one size are restored in batches.

        Raises:
          UsageError: if another process is writing to the folder.
        """
        failed: list[pathlib.Path] = []
        waiting: list[_Work] = []
        photos = bar(total=len(tasks), unit="photo", show=self.progress and len(tasks) > 1)

        def fails(path: pathlib.Path, error: Exception) -> None:
            failed.append(path)
            self.on_error(_named(error, path))

        def restore() -> None:
            works = waiting[:]
            waiting.clear()
            for work, error in self._restored(works):
                if error is not None:
                    fails(work.task.source.path, error)
                photos.update()

        with self.manifest.held(), photos:
            for number, task in enumerate(tasks, 1):
                try:
                    work = self._looked_at(task, f"[{number}/{len(tasks)}]")
                except Exception as error:  # whatever a backend or a codec raises
                    fails(task.source.path, error)
                    work = None
                if work is None:
                    photos.update()
                    continue
                if waiting and not self._together(waiting, work):
                    restore()
                waiting.append(work)
                if len(waiting) >= self.batch_size:
                    restore()
            restore()
        return failed

    def made_of(self, path: pathlib.Path) -> dict[str, Any]:
        """The source and all settings that its result depends on."""
        return {"source": path.name, "sha256": sha256(path), **self._own}

    def _seems_done(self, task: Task) -> bool:
        """Whether there is a result with these settings; its source is not compared."""
        found = self.manifest.identity(task.target) if task.target.exists() else None
        return bool(found) and all(found.get(k) == v for k, v in self._own.items())

    def _looked_at(self, task: Task, label: str) -> _Work | None:
        """A photograph that is to be restored; None if its result is there or it is a copy."""
        path, started = task.source.path, time.monotonic()
        with open_image(path, path) as image:  # fails if missing or no image
            check_size(task.target, image.size)
        made_of, ours = self.made_of(path), self.manifest.outputs(task.target)
        truth = None if self._truth is None else self._truth.of(task)
        if not self.overwrite:
            if self.manifest.identity(task.target) == made_of and all(p.exists() for p in ours):
                self._there += 1
                self._measure(task, truth)
                return None
            for there in task.outputs():
                if there.exists() and there not in ours:
                    raise DataError(
                        f"{there}: exists, and is no result that this folder's manifest.json "
                        "knows; --overwrite replaces it"
                    )
        _check_writable(task.target.parent)
        photo = read_photo(path)
        height, width = photo.pixels.shape[:2]
        score = triage.sharpness(to_8_bits(photo.pixels))
        sharp = score is not None and score >= triage.SHARP
        about: dict[str, Any] = {"width": width, "height": height}
        about["sharpness"] = score and round(score, 3)
        remark = f", sharp already (score {score:.2f})" if sharp else ""
        print(printable(f"{label} {path} ({width}x{height}){remark}"), flush=True)
        work = _Work(task, photo, made_of, ours, truth, label, about, time.monotonic() - started)
        if not (self.keep_sharp and sharp):
            return work
        started = time.monotonic()
        outputs, notes = self._copy(task, photo)
        self._copied += 1
        about["copied"] = True
        self._finish(work, outputs, notes, time.monotonic() - started)
        return None

    def _together(self, waiting: Sequence[_Work], work: _Work) -> bool:
        """Whether a photograph may join a batch: all have one size and type, and none has tiles."""
        pixels = work.photo.pixels
        same = all(
            (w.photo.pixels.shape, w.photo.pixels.dtype) == (pixels.shape, pixels.dtype)
            for w in waiting
        )
        height, width = pixels.shape[:2]
        count, n_samples = len(waiting) + 1, self.sampling.n_samples
        return same and not self.deblurrer.tile_for(height, width, count, n_samples)

    def _restored(self, works: Sequence[_Work]) -> Iterator[tuple[_Work, Exception | None]]:
        """Restores a batch; yields each photograph with its error, None where there is none."""
        if not works:
            return
        started, drawn = time.monotonic(), None
        if len(works) > 1:
            with contextlib.suppress(Exception):  # then each is tried alone
                drawn = self._samples(works)
        share = (time.monotonic() - started) / len(works)
        for i, work in enumerate(works):
            started = time.monotonic()
            try:
                samples = self._samples([work])[:, 0] if drawn is None else drawn[:, i]
                outputs, notes = self._written(work, samples)
                seconds = share + time.monotonic() - started
                self._finish(work, outputs, notes, seconds)
                self._tell_time_left(work.task.source.path, work.about["seconds"])
                yield work, None
            except Exception as error:  # whatever a backend or a codec raises
                yield work, error

    def _samples(self, works: Sequence[_Work]) -> np.ndarray:
        """float32 [n_samples, B, H, W, 3]."""
        height, width = works[0].photo.pixels.shape[:2]
        tile = self.deblurrer.tile_for(height, width, len(works), self.sampling.n_samples)
        for work in works:
            work.about["tile"] = tile
        batch = np.stack([work.photo.pixels for work in works])
        with self._steps() as on_step:
            return self.deblurrer.draw(
                batch, self.seed, self.sampling, on_step, self.color_guard, self.batch_size
            )

    def _written(self, work: _Work, samples: np.ndarray) -> tuple[list[pathlib.Path], list[str]]:
        """Writes the results of a photograph; returns files and what could not be kept."""
        task, photo, about = work.task, work.photo, work.about
        restored = mean_image(samples)
        after = triage.sharpness(restored)
        about["sharpness_after"] = after and round(after, 3)
        if not triage.helped(to_8_bits(photo.pixels), restored):
            if not self.always:
                print(
                    "  left as it was: the result is no sharper; this model was probably not "
                    "trained on such blur (--always writes the result)",
                    flush=True,
                )
                self._left += 1
                about["left"] = True
                return self._copy(task, photo)
            print("  the result is no sharper than the photograph", flush=True)
        self.manifest.begin(task.target, task.outputs())
        kind = photo.pixels.dtype
        for sample, path in zip(samples, task.samples, strict=False):
            write_photo(path, mean_image(sample[None], kind), photo)
        if task.uncertainty is not None:
            spread = uncertainty.spread_of(samples)
            uncertainty.write_picture(task.uncertainty, spread)
            found = uncertainty.summary(spread)
            about["spread"] = dataclasses.asdict(found)
            print(f"  {found}", flush=True)
        # Last, since this file and its entry in the manifest mark the photo as done.
        notes = [*photo.notes, *write_photo(task.target, mean_image(samples, kind), photo)]
        return list(task.outputs()), notes

    def _finish(
        self, work: _Work, outputs: Sequence[pathlib.Path], notes: Sequence[str], seconds: float
    ) -> None:
        """Records a photograph whose result is written."""
        about, label, target = work.about, work.label, work.task.target
        for stale in work.ours.difference(outputs):  # samples of other settings
            stale.unlink(missing_ok=True)
        about |= self._measure(work.task, work.truth)
        about["seconds"] = round(work.seconds + seconds, 2)
        about["not_kept"] = list(notes)
        self.manifest.record(target, outputs, work.made_of, **about)
        print(printable(f"{label} {target} in {about['seconds']:.1f} s"), flush=True)
        for note in dict.fromkeys(notes):
            print(printable(f"{label} {note}"), flush=True)

    def _copy(self, task: Task, photo: Photo) -> tuple[list[pathlib.Path], list[str]]:
        """Copies the photo unrestored, converted if the format differs; returns as `_restore`."""
        self.manifest.begin(task.target, [task.target])
        kinds = [FORMATS.get(p.suffix.lower()) for p in (task.source.path, task.target)]
        if kinds[0] is not kinds[1]:
            return [task.target], [*photo.notes, *write_photo(task.target, photo.pixels, photo)]
        with open(task.source.path, "rb") as source, replacing(task.target) as target:
            shutil.copyfileobj(source, target)
        return [task.target], []

    def _measure(self, task: Task, truth: pathlib.Path | None) -> dict[str, float | None]:
        return {} if self._truth is None or truth is None else self._truth.measure(task, truth)

    @contextlib.contextmanager
    def _steps(self) -> Iterator[Callable[[float], object]]:
        """Progress over the steps of one photo."""
        total = self.sampling.steps * self.sampling.n_samples
        with bar(
            total=total,
            unit="step",
            leave=False,
            show=self.progress,
            bar_format="{l_bar}{bar}| {n:.1f}/{total} steps [{elapsed}<{remaining}]",
        ) as steps:
            yield lambda done: steps.update(done - steps.n)

    def estimate(self, tasks: Sequence[Task]) -> str:
        """Number and size of the photographs, and the memory that they take, in one line."""
        left = self._sizes = self._sizes_of_work(tasks)
        total, largest = sum(left.values()), max(left.values(), default=0)
        text = f"{len(left)} photo(s) to restore, {total / 1e6:.1f} megapixels"
        if not total or memory.on_accelerator():
            return text
        side, samples = int(largest**0.5), self.sampling.n_samples
        tile = self.deblurrer.tile_for(side, side, 1, samples)
        needed = memory.needed_bytes(self.deblurrer.model, side, side, tile, samples)
        return f"{text}: about {needed / 2**30:.1f} GiB" + (
            f", the largest in tiles of {tile}" if tile else ""
        )

    def _sizes_of_work(self, tasks: Sequence[Task]) -> dict[pathlib.Path, int]:
        """Pixels of each photograph whose result is not there yet."""
        found = {}
        for task in tasks:
            if self.overwrite or not self._seems_done(task):
                with contextlib.suppress(Error), open_image(task.source.path, "") as image:
                    found[task.source.path] = image.width * image.height
        return found

    def _tell_time_left(self, path: pathlib.Path, seconds: float) -> None:
        """After each of the first photographs, says how long the others will take.

        The first contains compilation, so the second corrects what the first has told.
        """
        pixels = self._sizes.pop(path, 0)
        left = sum(self._sizes.values())
        self._told += 1
        if pixels and left and self._told <= 2 and not self.progress:
            time_left = in_words(seconds * left / pixels)
            print(f"{len(self._sizes)} photo(s) left, about {time_left}", flush=True)

    def summary(self) -> str:
        """How many photos were not restored, and the means of the measured figures."""
        lines = []
        if self._there:
            lines.append(f"{self._there} already there, skipped; --overwrite restores them again")
        if self._copied:
            lines.append(
                f"{self._copied} sharp already, copied as they are; --nokeep_sharp restores them"
            )
        if self._left:
            lines.append(
                f"{self._left} left as they were, since no result was sharper; --always writes it"
            )
        if self._truth is not None and (measured := self._truth.summary()):
            lines.append(measured)
        return "\n".join(lines) or "done"


def _check_writable(folder: pathlib.Path) -> None:
    """Checks, before any work, that files can be written to a folder.

    Raises:
      OSError: if they cannot.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def _named(error: Exception, path: pathlib.Path) -> Exception:
    """The error in one line, with the photo's name."""
    text = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, Error | OSError | MemoryError):
        text = f"{type(error).__name__}: {text[:300]}"
    return (
        error
        if os.fspath(path) in text and "\n" not in str(error)
        else DataError(f"{path}: {text}")
    )
