r"""Milliseconds per picture of 1280x720 for each metric, and memory and time for a folder.

  python benchmarks/metrics.py
  python benchmarks/metrics.py --pictures=50

LPIPS and Inception have random weights, which do not change the time. With --pictures=N, N pairs
of PNG files are made and `deblur-evaluate folders` measures them with PSNR and both SSIMs.
"""

from __future__ import annotations

import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

from absl import app, flags

_REPEATS = flags.DEFINE_integer("repeats", 5, "Number of timings; the median is printed.", 1)
_PICTURES = flags.DEFINE_integer("pictures", 0, "Measure a folder of N pictures; 0: none.", 0)
GOPRO = 1111


def pictures():
    """A photograph of 1280x720 and a noisy copy, uint8."""
    import numpy as np
    from PIL import Image

    from deblur_tf.data.photos import open_photos

    photo = Image.fromarray(open_photos(None)[0]).resize((1280, 720))
    sharp = np.asarray(photo)
    noise = np.random.default_rng(0).normal(0, 6, sharp.shape)
    return np.uint8(np.clip(np.round(sharp + noise), 0, 255)), sharp


def milliseconds(fn: Callable[[], object]) -> float:
    """Median milliseconds of a call, after one call that is not counted."""
    fn()
    times = []
    for _ in range(_REPEATS.value):
        start = time.perf_counter()
        fn()
        times.append(time.perf_counter() - start)
    return 1000 * sorted(times)[len(times) // 2]


def one_by_one() -> None:
    """Prints a table of the time of each metric."""
    import numpy as np

    from deblur_tf.metrics import aligned, distances, fid, inception, lpips, niqe, psnr, ssim

    rng = np.random.default_rng(0)

    def drawn(shapes):
        return {
            name: (rng.standard_normal(shape) / np.sqrt(np.prod(shape[:3]))).astype("float32")
            for name, shape in shapes.items()
        }

    image, sharp = pictures()
    pristine = niqe.Pristine(np.zeros(36), np.eye(36))
    nets = {net: drawn(lpips.shapes(net)) for net in ("alex", "vgg")}
    weights = drawn(inception.shapes())

    def together(a, b):
        return [metric.measure(a, b) for metric in (psnr.PSNR, ssim.SSIM_MATLAB, ssim.SSIM)]

    def features():
        return fid.patch_features(image, lambda x: inception.features(x, weights), fid.PAPER_PATCH)

    rows = {
        "psnr": lambda: psnr.psnr(image, sharp),
        "ssim_matlab": lambda: ssim.ssim_matlab(image, sharp),
        "ssim": lambda: ssim.ssim(image, sharp),
        "psnr, ssim_matlab and ssim": lambda: together(image.copy(), sharp),
        "psnr_aligned": lambda: aligned.psnr_aligned(image.copy(), sharp),
        "lpips_alex": lambda: lpips._measure(image, sharp, nets["alex"], "alex"),
        "lpips_vgg": lambda: lpips._measure(image, sharp, nets["vgg"], "vgg"),
        "niqe": lambda: niqe.distance(image, pristine),
        "fid and kid: features of 15 patches": features,
    }
    print("| metric | ms per picture of 1280x720 |\n|---|---|")
    for name, fn in rows.items():
        print(f"| {name} | {milliseconds(fn):.0f} |", flush=True)
    vectors = [rng.standard_normal((15, inception.DIM)).astype("float32") for _ in range(GOPRO)]
    for name, fn in (("fid", distances.fid), ("kid", distances.kid_full)):
        start = time.perf_counter()
        fn(vectors, vectors[::-1])
        print(
            f"| {name} of {GOPRO} pictures, in total | {1000 * (time.perf_counter() - start):.0f} |"
        )


def folder(count: int) -> None:
    """Prints time and peak memory of an evaluation of PNG files."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as root:
        for side, pixels in zip(("restored", "sharp"), pictures(), strict=True):
            path = pathlib.Path(root) / side
            path.mkdir()
            Image.fromarray(pixels).save(path / "0000.png")
            for i in range(1, count):
                (path / f"{i:04d}.png").hardlink_to(path / "0000.png")
        command = [sys.executable, "-m", "deblur_tf.bin.evaluate", "folders", "-o", f"{root}/out"]
        command += [f"--restored={root}/restored", f"--sharp={root}/sharp"]
        start = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # KiB
    print(
        f"{count} pictures: {seconds:.1f} s, {seconds / count:.3f} s per picture "
        f"({seconds / count * GOPRO / 60:.1f} minutes for {GOPRO}), peak {peak / 2**20:.2f} GiB"
    )


def main(argv: Sequence[str]) -> None:
    del argv
    if _PICTURES.value:
        folder(_PICTURES.value)
    else:
        one_by_one()


if __name__ == "__main__":
    app.run(main)
