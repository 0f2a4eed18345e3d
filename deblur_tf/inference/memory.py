"""How much memory there is, how much a picture needs, and tiles that fit."""

from __future__ import annotations

import pathlib

import keras
import psutil

from deblur_tf.models.restorer import Restorer
from deblur_tf.models.tiles import check_overlap

# Share of free memory that a picture may take, since the estimate is not exact.
SHARE = 0.6
# Memory of whole arrays of the picture's size that are kept beside a tile, in bytes per pixel.
KEPT_BYTES = 72
SAMPLE_BYTES = 36  # bytes per pixel of each sample and its results
SMALLEST_TILE = 128
TILE_STEP = 64  # automatic tile sides are multiples of this
# On a CPU, pictures with more pixels than this many of a model's largest tiles (1.5 megapixels for
# most models) are not computed whole, even if they fit: above about 2.7 megapixels a oneDNN
# convolution took over twenty times as long per pixel.
WHOLE_TILES = 1.43
# Factor that corrects the estimate of a network's memory, see benchmarks/large.py.
CORRECTION = 1.7


def available_bytes() -> int:
    """Free memory of the machine, or of the container if that is less."""
    free = psutil.virtual_memory().available
    root = pathlib.Path("/sys/fs/cgroup")
    for limit, used, stats in (
        ("memory.max", "memory.current", "memory.stat"),
        (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "memory/memory.stat",
        ),
    ):
        try:
            left = int((root / limit).read_text()) - int((root / used).read_text())
            # Cached files count as used, but are released when memory is needed.
            stat = dict(line.split() for line in (root / stats).read_text().splitlines())
            left += int(stat.get("inactive_file", 0))
            free = min(free, max(left, 0))
        except (OSError, ValueError):  # no limit, or none that can be read
            continue
    return free


def bytes_per_pixel(model: Restorer) -> float:
    """About how much memory one evaluation of a model takes for each pixel of its input."""
    images = 3 * 12  # the images themselves, their bands and noise, at full resolution
    return CORRECTION * 4.0 * (images + model.floats_per_pixel)


def smallest_tile(model: Restorer, overlap: int) -> int:
    """Side of the smallest tiles that may be chosen, if neighbours overlap by `overlap` pixels.

    `SMALLEST_TILE`, or more for models whose `size_multiple` rounds the overlap up to half of it.

    Raises:
      UsageError: if the overlap is half of `SMALLEST_TILE` or more.
    """
    check_overlap(SMALLEST_TILE, overlap)
    overlap = -(-overlap // model.size_multiple) * model.size_multiple
    return max(SMALLEST_TILE, (2 * overlap // TILE_STEP + 1) * TILE_STEP)


def choose_tile(
    model: Restorer,
    height: int,
    width: int,
    copies: int = 1,
    n_samples: int = 1,
    free: int | None = None,
    smallest: int = SMALLEST_TILE,
) -> int:
    """The side of tiles that fit into memory; 0 if the picture is best computed whole.

    Args:
      model: a built restorer.
      height, width: height and width of the picture in pixels.
      copies: pictures that are computed together.
      n_samples: samples of each picture, all of which are kept in memory.
      free: free memory in bytes; None: what is available on a CPU. On an accelerator the whole
        picture is tried first.
      smallest: side of the smallest tiles, see `smallest_tile`.
    """
    if free is None:
        if on_accelerator():
            return 0
        free = available_bytes()
    budget, each = SHARE * free, copies * bytes_per_pixel(model)
    pixels, kept = height * width, copies * (KEPT_BYTES + SAMPLE_BYTES * n_samples)
    if pixels <= min(WHOLE_TILES * model.largest_tile**2 / copies, budget / each):
        return 0
    left = max(budget - kept * pixels, 0.0)
    side = int((left / each) ** 0.5)
    return max(min(side // TILE_STEP * TILE_STEP, model.largest_tile), smallest)


def needed_bytes(model: Restorer, height: int, width: int, tile: int, n_samples: int = 1) -> float:
    """About how much memory a picture takes, in tiles of side `tile` or whole (0)."""
    pixels, each = height * width, bytes_per_pixel(model)
    kept = (KEPT_BYTES + SAMPLE_BYTES * n_samples) * pixels
    if not tile or tile >= max(height, width):
        return each * pixels + kept
    return kept + each * min(tile, height) * min(tile, width)


def on_accelerator() -> bool:
    """Whether the backend computes on something other than the CPU."""
    return any("gpu" in d.lower() or "tpu" in d.lower() for d in keras.distribution.list_devices())


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error of a backend means that it could not allocate memory."""
    text = f"{type(error).__name__} {error}"
    told = ("ResourceExhausted", "RESOURCE_EXHAUSTED", "bad_alloc", "Out of memory", "OOM when")
    return isinstance(error, MemoryError) or any(words in text for words in told)
