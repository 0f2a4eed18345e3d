"""tf.data input: the one place that fixes dtype, range and shape of batches."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from deblur_tf.data.pairs import PairGenerator


def pair_dataset(make_pair: PairGenerator, batch_size: int, first_step: int = 0) -> tf.data.Dataset:
    """Endless batches of pairs from a training step on.

    Batch b holds pairs b * batch_size ... (b + 1) * batch_size - 1, so that a
    restart at a step continues exactly.

    Args:
      make_pair: the pair generator.
      batch_size: global batch size.
      first_step: number of the first batch.

    Returns:
      Dataset of {"blurry", "sharp": uint8 [B, crop, crop, 3] in [0, 255],
      "item": int32 [B], the example's number in the global batch}.
    """
    shape = (make_pair.crop_size, make_pair.crop_size, 3)

    def load(index: tf.Tensor) -> dict[str, tf.Tensor]:
        def make(i: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return make_pair(int(i))

        blurry, sharp = tf.numpy_function(make, [index], (tf.uint8, tf.uint8))
        return {
            "blurry": tf.ensure_shape(blurry, shape),
            "sharp": tf.ensure_shape(sharp, shape),
            "item": tf.cast(index % batch_size, tf.int32),
        }

    indices = tf.data.Dataset.range(first_step * batch_size, tf.int64.max)
    return (
        indices.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(batch_size, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )
