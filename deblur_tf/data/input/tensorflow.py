"""Input by tf.data: the only place that fixes dtype, range and shape of batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from deblur_tf.base.errors import DataError
from deblur_tf.data.input.batch import Batch
from deblur_tf.data.pair_source import DevicePairSource, PairSource


def distributed(
    strategy: tf.distribute.Strategy, pairs: PairSource, batch_size: int, first_step: int
) -> Iterator[Any]:
    """`pair_dataset`, with each replica's share of the global batch on that replica.

    Raises:
      DataError: if a pair cannot be made.
    """
    failures: list[DataError] = []

    def make(context: tf.distribute.InputContext) -> tf.data.Dataset:
        count = batch_size // context.num_input_pipelines
        first = context.input_pipeline_id * count
        return pair_dataset(
            pairs,
            batch_size,
            first_step,
            range(first, first + count),
            context.get_per_replica_batch_size(batch_size),
            failures,
        )

    iterator = iter(strategy.distribute_datasets_from_function(make))
    while True:
        try:
            batch = next(iterator)
        except tf.errors.OpError:
            if failures:
                raise failures[0] from None
            raise
        yield batch


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
    that a restart at a step continues exactly, and each host makes its own rows
    independently of the others.

    Args:
      make_pair: returns a pair by number; a `device.DevicePairSource` makes whole
        batches in the graph.
      batch_size: global batch size.
      first_step: number of the first batch.
      rows: the rows of each global batch to make; None: all.
      part_size: size of the batches made, a divisor of the number of rows;
        None: all rows at once.
      failures: list that receives the error of a pair that could not be made, since
        tf.data passes it on as text only.

    Returns:
      Dataset of `Batch`, of `part_size` pairs each.
    """
    rows = range(batch_size) if rows is None else rows
    part_size = part_size or len(rows)
    parts = len(rows) // part_size
    if isinstance(make_pair, DevicePairSource):
        make = _on_device(make_pair)
    else:
        make = _on_host(make_pair, part_size, failures)
    shapes = [(part_size, *shape) for shape, _ in make_pair.spec]

    @tf.autograph.experimental.do_not_convert  # it would lose default arguments
    def batch(number: tf.Tensor) -> Batch:
        step, part = first_step + number // parts, tf.math.floormod(number, parts)
        row = rows.start + part * part_size + tf.range(part_size, dtype=tf.int64)
        blurry, sharp = make(step * batch_size + row)
        return Batch(
            tf.ensure_shape(blurry, shapes[0]),
            tf.ensure_shape(sharp, shapes[1]),
            tf.cast(row, tf.int32),
        )

    return (
        tf.data.Dataset.range(tf.int64.max)
        .map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .prefetch(tf.data.AUTOTUNE)
    )


Make = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def _on_host(make_pair: PairSource, count: int, failures: list[DataError] | None) -> Make:
    """Pairs by number, each made by a call of NumPy code."""
    dtypes = [dtype for _, dtype in make_pair.spec]

    def make(index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        try:
            return make_pair(int(index))
        except DataError as error:
            if failures is not None:
                failures.append(error)
            raise

    def load(numbers: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pairs = [tf.numpy_function(make, [numbers[i]], dtypes) for i in range(count)]
        blurry, sharp = zip(*pairs, strict=True)
        return tf.stack(blurry), tf.stack(sharp)

    return load


def _on_device(source: DevicePairSource) -> Make:
    """Pairs by number, made from arrays in the graph."""
    arrays = {name: tf.constant(array) for name, array in source.arrays().items()}
    return lambda numbers: source.make(arrays, tf.cast(numbers, tf.int32))
