"""True sharp pictures, to measure restored ones against."""

from __future__ import annotations

import glob
import pathlib

import numpy as np

from deblur_tf.base.errors import DataError, UsageError
from deblur_tf.image_files.listing import PHOTO_EXTENSIONS, Task
from deblur_tf.image_files.reading import read_rgb
from deblur_tf.metrics.psnr import psnr
from deblur_tf.metrics.ssim import ssim


class Truth:
    """A folder of the true sharp pictures, and what was measured against them.

    Args:
      folder: has a picture for each photograph, of the same name below its folder but for the
        extension.

    Raises:
      UsageError: if there is no such folder.
    """

    def __init__(self, folder: str):
        self._folder = pathlib.Path(folder)
        if not self._folder.is_dir():
            raise UsageError(f"{folder}: no such folder")
        self._scores: list[tuple[float, float]] = []

    def of(self, task: Task) -> pathlib.Path:
        """The true picture of a photograph.

        Raises:
          DataError: if there is none.
        """
        stem = (self._folder / task.source.relative).with_suffix("")
        for candidate in sorted(stem.parent.glob(f"{glob.escape(stem.name)}.*")):
            if candidate.suffix.lower() in PHOTO_EXTENSIONS and candidate.stem == stem.name:
                return candidate
        raise DataError(f"{stem}.*: no sharp photograph of {task.source.path}")

    def measure(self, task: Task, truth: pathlib.Path) -> dict[str, float | None]:
        """PSNR and SSIM of a result, for the manifest; {} if its size is another."""
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

    def summary(self) -> str:
        """The means; empty if nothing was measured."""
        if not self._scores:
            return ""
        mean = np.nanmean(self._scores, axis=0)
        return f"mean of {len(self._scores)}: PSNR {mean[0]:.2f} dB, SSIM {mean[1]:.4f}"
