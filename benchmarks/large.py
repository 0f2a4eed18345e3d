r"""Time and memory of large photographs, and where a step's time goes.

  python benchmarks/large.py --megapixels=6,12,24

First prints by how much tiles change a restored photograph, and whether the difference is where
tiles overlap. Then, for one picture of --side pixels: the time of a sampling step and of the work
done once per image, relative to a forward pass of the UNet, and the ratio of estimated
(`inference/memory.py`) to measured memory. Finally, deblur-restore restores each photograph, a
smooth picture with noise, in a process of its own, in tiles as --tile says; seconds and peak memory
are those of the process.
"""

from __future__ import annotations

import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

import numpy as np
from absl import app, flags

_MODEL = flags.DEFINE_string("model", "tiny", "See deblur-restore.", short_name="m")
_MEGAPIXELS = flags.DEFINE_list("megapixels", ["6", "12", "24"], "Sizes of the photographs.")
_TILE = flags.DEFINE_string("tile", "auto", "See deblur-restore.")
_STEPS = flags.DEFINE_integer("steps", 1, "Sampling steps.")
_SIDE = flags.DEFINE_integer("side", 512, "Side in pixels of the picture whose steps are timed.")
_REPEATS = flags.DEFINE_integer("repeats", 5, "Number of timings; the median is printed.")


def picture(height: int, width: int) -> np.ndarray:
    """A smooth picture with noise: uint8 [H, W, 3]."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    base = 128 + 60 * np.sin(rows / 37) * np.cos(columns / 53)
    noisy = base[..., None] + rng.normal(0, 8, (height, width, 3)).astype(np.float32)
    return np.uint8(np.clip(noisy, 0, 255))


def whole_program(megapixels: float) -> tuple[float, float]:
    """Seconds and peak GiB of deblur-restore for one photograph."""
    from PIL import Image

    width = round((megapixels * 1e6 * 1.5) ** 0.5)
    height = round(megapixels * 1e6 / width)
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "a.jpg"
        Image.fromarray(picture(height, width)).save(source, quality=95)
        command = [sys.executable, "-m", "deblur_tf.bin.restore", "-i", source, "-o", folder + "/o"]
        command += [f"--tile={_TILE.value}", f"--steps={_STEPS.value}", "-m", _MODEL.value]
        command += ["--nokeep_sharp"]
        code = (
            "import resource, subprocess, sys; r = subprocess.run(sys.argv[1:]).returncode; "
            "print('peak', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(r)"
        )
        started = time.perf_counter()
        result = subprocess.run(
            [sys.executable, "-c", code, *map(str, command)],
            check=True,
            capture_output=True,
            text=True,
        )
        seconds = time.perf_counter() - started
    print("\n".join(line for line in result.stdout.splitlines() if "GiB here" in line))
    return seconds, int(result.stdout.split("peak")[-1]) / 2**20


def timed(*fns: Callable[[], object]) -> np.ndarray:
    """Median seconds of a call of each function, after a warm-up.

    The functions are called in turns, since the speed of machines varies over time.
    """
    taken = []
    for _ in range(1 + _REPEATS.value):
        stamps = [time.perf_counter()]
        for fn in fns:
            fn()
            stamps.append(time.perf_counter())
        taken.append(np.diff(stamps))
    return np.median(taken[1:], axis=0)


def steps_and_guidance() -> None:
    """Prints the times of the parts of a step, and how accurate the estimate of memory is."""
    import tensorflow as tf
    from keras import ops

    from deblur_tf.diffusion.schedules import inference_schedule
    from deblur_tf.inference import memory
    from deblur_tf.inference.deblurrer import Deblurrer
    from deblur_tf.models.restoration import Restoration, sample_keys
    from deblur_tf.numerics import image_ops

    model = Deblurrer.from_pretrained(_MODEL.value).model
    side = _SIDE.value
    blurry = image_ops.to_model_range(picture(side, side)[None])
    keys, restoration, wait = sample_keys(0, [0]), Restoration(model), ops.convert_to_numpy
    prepared = restoration.prepare(blurry, keys)
    unet = tf.function(lambda x: model.raw_output(x, tf.ones([1]), prepared.condition))
    short, long, guidance, forward = timed(
        *(
            lambda n=n: wait(restoration.sample(prepared, keys, inference_schedule(n)))
            for n in (2, 6)
        ),
        lambda: wait(restoration.prepare(blurry, keys)[0].blurry),
        lambda: wait(unet(prepared.condition.blurry)),
    )
    step = (long - short) / 4
    print(
        f"{side}x{side}: UNet forward {1e3 * forward:.0f} ms; step {step / forward:.3f} times that;"
    )
    print(f"work done once per image {guidance / forward:.3f} times that")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    large = image_ops.to_model_range(picture(3 * side, 3 * side)[None])
    restoration(large, keys, inference_schedule(1))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    wanted = memory.bytes_per_pixel(model) * (9 - 1) * side * side
    print(f"memory, {9 * side**2 / 1e6:.1f} megapixels: estimated {wanted / grown:.2f} of it")


def seams() -> None:
    """Prints how much restoring a photograph of 512x512 in tiles changes it, of 255."""
    from deblur_tf.data.photos import bundled_photos
    from deblur_tf.diffusion.schedules import inference_schedule
    from deblur_tf.image_files.reading import read_rgb
    from deblur_tf.inference.deblurrer import Deblurrer
    from deblur_tf.models.restoration import Restoration, sample_keys
    from deblur_tf.models.tiles import Grid, TiledRestoration
    from deblur_tf.numerics import image_ops

    model = Deblurrer.from_pretrained(_MODEL.value).model
    blurry = image_ops.to_model_range(read_rgb(bundled_photos()[0])[None])
    keys = sample_keys(0, [0])
    print("| steps | tile, overlap | rms | largest | rms where tiles overlap | rms elsewhere |")
    print("|---|---|---|---|---|---|")
    for steps in (1, 3):
        schedule = inference_schedule(steps)
        whole = np.clip(Restoration(model)(blurry, keys, schedule), -1, 1)
        for side, overlap in ((256, 32), (256, 64), (384, 32)):
            tiled = TiledRestoration(model, None, side, overlap)(blurry, keys, schedule)
            error = 127.5 * np.abs(np.clip(tiled, -1, 1) - whole)[0].max(axis=-1)
            count = np.zeros(error.shape)
            for tile in Grid(*error.shape, side, overlap, model.size_multiple):
                tile.of(count[None, :, :, None], len(count))[...] += 1
            inside = count > 1
            rms = [np.sqrt(np.mean(e**2)) for e in (error, error[inside], error[~inside])]
            print(
                f"| {steps} | {side}, {overlap} | {rms[0]:.3f} | {error.max():.2f} | "
                f"{rms[1]:.3f} | {rms[2]:.3f} |"
            )


def main(argv: Sequence[str]) -> None:
    del argv
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    seams()
    steps_and_guidance()
    print("| megapixels | seconds | seconds per megapixel | peak GiB |\n|---|---|---|---|")
    for megapixels in map(float, _MEGAPIXELS.value):
        seconds, peak = whole_program(megapixels)
        print(f"| {megapixels:g} | {seconds:.1f} | {seconds / megapixels:.2f} | {peak:.2f} |")


if __name__ == "__main__":
    app.run(main)
