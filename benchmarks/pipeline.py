r"""Compares the throughput of the input pipeline with that of the training step.

  python benchmarks/pipeline.py --dataset=gopro/blur_subset --data_dir=data
  python benchmarks/pipeline.py --photos=PHOTOS

Prints crops per second of the pipeline alone and of the training step alone, both on
this machine and in this run, and their ratio. With a ratio above 1 the step never waits
for data; the aim is 3. Without --cache the images are decoded anew in each epoch, as for
a data set that is larger than memory.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from absl import app, flags

_GIN_FILE = flags.DEFINE_multi_string(
    "gin_file",
    ["models/icdpm.gin", "models/guidance/multiscale.gin", "recipes/icdpm.gin", "data/photos.gin"],
    "What is trained. Repeatable.",
)
_DATASET = flags.DEFINE_string("dataset", None, "Prepared data set, e.g. gopro/blur_subset.")
_SPLIT = flags.DEFINE_string("split", "train", "Split of the data set.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of prepared data sets.")
_PHOTOS = flags.DEFINE_string("photos", None, "Without --dataset: folder of sharp photos.")
_BATCH = flags.DEFINE_integer("batch", 32, "Batch size of the pipeline.")
_STEP_BATCH = flags.DEFINE_integer("step_batch", 2, "Batch size of the training step.")
_CROP = flags.DEFINE_integer("crop", 128, "Side of a crop.")
_BATCHES = flags.DEFINE_integer("batches", 40, "Batches to time.")
_CACHE = flags.DEFINE_bool("cache", False, "Keep decoded images in memory, as training does.")


def rate(make_batch: Callable[[], object], batch_size: int, count: int, warm: int) -> float:
    """Items per second of `count` calls after `warm` calls."""
    for _ in range(warm):
        make_batch()
    start = time.perf_counter()
    for _ in range(count):
        make_batch()
    return batch_size * count / (time.perf_counter() - start)


def main(argv: Sequence[str]) -> None:
    del argv
    from deblur_tf import config
    from deblur_tf.data.input.tensorflow import pair_dataset
    from deblur_tf.data.pairs import PairGenerator
    from deblur_tf.data.tfds_pairs import TfdsPairs
    from deblur_tf.training.steppers import make_stepper

    if _DATASET.value:
        source = (_DATASET.value, _DATA_DIR.value, _SPLIT.value)
        pairs = TfdsPairs(*source, crop_size=_CROP.value)
        if not _CACHE.value:
            # As for a data set larger than memory: the cache holds two blocks of two images.
            room = 4 * sum(image.nbytes for image in pairs.images[0])
            pairs = TfdsPairs(*source, crop_size=_CROP.value, shuffle_images=2, cache_bytes=room)
    else:
        pairs = PairGenerator(_PHOTOS.value, crop_size=_CROP.value)
    batches = iter(pair_dataset(pairs, _BATCH.value))
    cores = os.cpu_count() or 1
    delivered = rate(lambda: next(batches), _BATCH.value, _BATCHES.value, 10)

    overrides = [f"BATCH_SIZE = {_STEP_BATCH.value}", f"CROP_SIZE = {_CROP.value}"]
    config.load(_GIN_FILE.value, overrides)
    stepper = make_stepper(config.build("Recipe"))
    batch = next(iter(pair_dataset(pairs, _STEP_BATCH.value)))
    consumed = rate(lambda: float(stepper(batch, 0)["loss"]), _STEP_BATCH.value, 5, 2)

    print(f"{pairs.describe()}, {_CROP.value}x{_CROP.value} crops, {cores} cores")
    print(f"pipeline alone       {delivered:8.1f} crops/s ({delivered / cores:.1f} per core)")
    print(f"training step alone  {consumed:8.1f} crops/s ({' '.join(_GIN_FILE.value)})")
    print(f"ratio                {delivered / consumed:8.1f}")


if __name__ == "__main__":
    app.run(main)
