"""tf.data input: the one place that fixes dtype, range and shape of batches."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from deblur_tf.data.device import DevicePairSource
from deblur_tf.data.pairs import PairSource
from deblur_tf.data.photos import DataError


def pair_dataset(
    make_pair: PairSource,
    batch_size: int,
    first_step: int = 0,
    rows: range | None = None,
    part_size: int | None = None,
    failures: list[DataError] | None = None,
) -> tf.data.Dataset:
    """Endless batches of pairs from a training step on.

    Global batch b holds pairs b * batch_size ... (b + 1) * batch_size - 1, so
    that a restart at a step continues exactly, and each host makes its rows of
    it without knowing of the others.

    Args:
      make_pair: gives the pairs by number; a `device.DevicePairSource` makes whole
        batches of them in the graph.
      batch_size: global batch size.
      first_step: number of the first batch.
      rows: the rows of each global batch to make; None: all.
      part_size: size of the batches made, a divisor of the number of rows;
        None: all rows at once.
      failures: gets the error of a pair that could not be made, which tf.data
        passes on as text only.

    Returns:
      Dataset of {"blurry", "sharp": uint8 [part_size, crop, crop, 3] in
      [0, 255], "item": int32 [part_size], the row in the global batch}.
    """
    rows = range(batch_size) if rows is None else rows
    if hasattr(make_pair, "make"):
        return _device_dataset(make_pair, batch_size, first_step, rows, part_size or len(rows))
    shape = (make_pair.crop_size, make_pair.crop_size, 3)

    def make(index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        try:
            return make_pair(int(index))
        except DataError as error:
            if failures is not None:
                failures.append(error)
            raise

    def load(number: tf.Tensor) -> dict[str, tf.Tensor]:
        step, row = first_step + number // len(rows), rows.start + number % len(rows)
        index = step * batch_size + row
        blurry, sharp = tf.numpy_function(make, [index], (tf.uint8, tf.uint8))
        return {
            "blurry": tf.ensure_shape(blurry, shape),
            "sharp": tf.ensure_shape(sharp, shape),
            "item": tf.cast(row, tf.int32),
        }

    return (
        tf.data.Dataset.range(tf.int64.max)
        .map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(part_size or len(rows), drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def _device_dataset(
    source: DevicePairSource, batch_size: int, first_step: int, rows: range, part_size: int
) -> tf.data.Dataset:
    """`pair_dataset` of pairs that are made from arrays."""
    parts = len(rows) // part_size
    arrays = {name: tf.constant(array) for name, array in source.arrays().items()}
    shape = (part_size, source.crop_size, source.crop_size, 3)

    def load(number: tf.Tensor) -> dict[str, tf.Tensor]:
        step, part = first_step + number // parts, number % parts
        row = rows.start + part * part_size + tf.range(part_size, dtype=tf.int64)
        blurry, sharp = source.make(arrays, tf.cast(step * batch_size + row, tf.int32))
        return {
            "blurry": tf.ensure_shape(blurry, shape),
            "sharp": tf.ensure_shape(sharp, shape),
            "item": tf.cast(row, tf.int32),
        }

    return (
        tf.data.Dataset.range(tf.int64.max)
        .map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .prefetch(tf.data.AUTOTUNE)
    )
