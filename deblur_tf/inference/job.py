"""Restores many photographs; a failure does not stop the others, and results are kept."""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from deblur_tf.base.errors import DataError, Error, UsageError
from deblur_tf.base.files import replacing, sha256
from deblur_tf.base.progress import bar
from deblur_tf.base.words import in_words, printable
from deblur_tf.diffusion.sampling import SamplingSettings
from deblur_tf.image_files.listing import PHOTO_EXTENSIONS, Task
from deblur_tf.image_files.reading import Photo, open_image, read_photo, read_rgb, to_8_bits
from deblur_tf.image_files.writing import FORMATS, check_size, write_photo
from deblur_tf.inference import memory, triage, uncertainty
from deblur_tf.inference.deblurrer import Deblurrer
from deblur_tf.inference.manifest import Manifest
from deblur_tf.inference.pictures import mean_image
from deblur_tf.metrics.psnr import psnr
from deblur_tf.metrics.ssim import ssim


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
      batch_size: samples of a photograph that are computed at a time.
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
        self.sharp_folder = None if sharp_folder is None else pathlib.Path(sharp_folder)
        if self.sharp_folder is not None and not self.sharp_folder.is_dir():
            raise UsageError(f"{sharp_folder}: no such folder")
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
        self._scores: list[tuple[float, float]] = []
        self._sizes: dict[pathlib.Path, int] = {}
        self._told = 0

    def run(self, tasks: Sequence[Task]) -> list[pathlib.Path]:
        """Restores all; returns the photographs that failed.

        Raises:
          UsageError: if another process is writing to the folder.
        """
        failed = []
        photos = bar(total=len(tasks), unit="photo", show=self.progress and len(tasks) > 1)
        with self.manifest.held(), photos:
            for number, task in enumerate(tasks, 1):
                try:
                    self._one(task, f"[{number}/{len(tasks)}]")
                except Exception as error:  # whatever a backend or a codec raises
                    failed.append(task.source.path)
                    self.on_error(_named(error, task.source.path))
                photos.update()
        return failed

    def _made_of(self, path: pathlib.Path) -> dict[str, Any]:
        """The source and all settings that its result depends on."""
        return {"source": path.name, "sha256": sha256(path), **self._own}

    def _seems_done(self, task: Task) -> bool:
        """Whether there is a result with these settings; its source is not compared."""
        found = self.manifest.identity(task.target) if task.target.exists() else None
        return bool(found) and all(found.get(k) == v for k, v in self._own.items())

    def _one(self, task: Task, label: str) -> None:
        path, started = task.source.path, time.monotonic()
        with open_image(path, path) as image:  # fails if missing or no image
            check_size(task.target, image.size)
        made_of, ours = self._made_of(path), self.manifest.outputs(task.target)
        truth = None if self.sharp_folder is None else self._truth(self.sharp_folder, task)
        if not self.overwrite:
            if self.manifest.identity(task.target) == made_of and all(p.exists() for p in ours):
                self._there += 1
                if truth is not None:
                    self._measure(task, truth)
                return
            for there in task.outputs():
                if there.exists() and there not in ours:
                    raise DataError(
                        f"{there}: exists, and is no result that this folder's manifest.json "
                        "knows; --overwrite replaces it"
                    )
        _check_writable(task.target.parent)
        photo = read_photo(path)
        height, width = photo.pixels.shape[:2]
        about: dict[str, Any] = {"width": width, "height": height}
        score = triage.sharpness(to_8_bits(photo.pixels))
        sharp = score is not None and score >= triage.SHARP
        about["sharpness"] = score and round(score, 3)
        restored = False
        remark = f", sharp already (score {score:.2f})" if sharp else ""
        print(printable(f"{label} {path} ({width}x{height}){remark}"), flush=True)
        if self.keep_sharp and sharp:
            outputs, notes = self._copy(task, photo)
            self._copied += 1
            about["copied"] = True
        else:
            outputs, notes = self._restore(task, photo, about)
            restored = True
        for stale in ours.difference(outputs):  # samples of other settings
            stale.unlink(missing_ok=True)
        if truth is not None:
            about |= self._measure(task, truth)
        about["seconds"] = round(time.monotonic() - started, 2)
        about["not_kept"] = notes
        self.manifest.record(task.target, outputs, made_of, **about)
        print(printable(f"{label} {task.target} in {about['seconds']:.1f} s"), flush=True)
        for note in dict.fromkeys(about["not_kept"]):
            print(printable(f"{label} {note}"), flush=True)
        if restored:
            self._tell_time_left(path, about["seconds"])

    def _restore(
        self, task: Task, photo: Photo, about: dict[str, Any]
    ) -> tuple[list[pathlib.Path], list[str]]:
        """Writes the results of a task; returns their files and what could not be kept."""
        height, width = photo.pixels.shape[:2]
        about["tile"] = self.deblurrer.tile_for(height, width, 1, self.sampling.n_samples)
        with self._steps() as on_step:
            samples = self.deblurrer.draw(
                *(photo.pixels[None], self.seed, self.sampling, on_step, self.color_guard),
                batch_size=self.batch_size,
            )[:, 0]
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

    def _copy(self, task: Task, photo: Photo) -> tuple[list[pathlib.Path], list[str]]:
        """Copies the photo unrestored, converted if the format differs; returns as `_restore`."""
        self.manifest.begin(task.target, [task.target])
        kinds = [FORMATS.get(p.suffix.lower()) for p in (task.source.path, task.target)]
        if kinds[0] is not kinds[1]:
            return [task.target], [*photo.notes, *write_photo(task.target, photo.pixels, photo)]
        with open(task.source.path, "rb") as source, replacing(task.target) as target:
            shutil.copyfileobj(source, target)
        return [task.target], []

    def _measure(self, task: Task, truth: pathlib.Path) -> dict[str, float | None]:
        sharp, restored = read_rgb(truth), read_rgb(task.target)
        if sharp.shape != restored.shape:
            print(f"  {truth}: differs in size from {task.target}; not measured", flush=True)
            return {}
        small = min(sharp.shape[:2]) < 11  # SSIM's window does not fit
        found = {
            "psnr": psnr(restored, sharp),
            "ssim": float("nan") if small else ssim(restored, sharp),
        }
        self._scores.append((found["psnr"], found["ssim"]))
        print(f"  PSNR {found['psnr']:.2f} dB, SSIM {found['ssim']:.4f}", flush=True)
        return {
            name: round(float(value), 4) if np.isfinite(value) else None
            for name, value in found.items()
        }

    def _truth(self, sharp_folder: pathlib.Path, task: Task) -> pathlib.Path:
        stem = (sharp_folder / task.source.relative).with_suffix("")
        for candidate in sorted(stem.parent.glob(f"{glob.escape(stem.name)}.*")):
            if candidate.suffix.lower() in PHOTO_EXTENSIONS and candidate.stem == stem.name:
                return candidate
        raise DataError(f"{stem}.*: no sharp photograph of {task.source.path}")

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
        if self._scores:
            mean = np.nanmean(self._scores, axis=0)
            lines.append(f"mean of {len(self._scores)}: PSNR {mean[0]:.2f} dB, SSIM {mean[1]:.4f}")
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
