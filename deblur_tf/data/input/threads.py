"""Batches made by threads of this process, for backends without tf.data."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
from collections.abc import Callable, Generator, Iterator

import numpy as np

from deblur_tf.data.input.batch import Batch
from deblur_tf.data.pair_source import PairSource


def batch_of(make_pair: PairSource, step: int, batch_size: int) -> Batch:
    """The batch of a training step."""
    pairs = [make_pair(step * batch_size + i) for i in range(batch_size)]
    blurry, sharp = zip(*pairs, strict=True)
    return Batch(np.stack(blurry), np.stack(sharp), np.arange(batch_size, dtype=np.int32))


def batches(
    make_pair: PairSource,
    batch_size: int,
    first_step: int = 0,
    workers: int = 2,
    prefetch: int = 8,
) -> Generator[Batch]:
    """Endless batches from `first_step` on, made ahead by threads, in order."""
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        futures = [
            pool.submit(batch_of, make_pair, first_step + i, batch_size) for i in range(prefetch)
        ]
        step = first_step + prefetch
        try:
            while True:
                batch = futures.pop(0).result()
                futures.append(pool.submit(batch_of, make_pair, step, batch_size))
                step += 1
                yield batch
        finally:
            for future in futures:
                future.cancel()


def stacked(
    make_pair: PairSource,
    batch_size: int,
    first_step: int,
    steps: Callable[[int], int],
    workers: int = 2,
) -> Iterator[Batch]:
    """Batches stacked for several steps, [steps, B, ...]; from `step` on, for `steps(step)`."""
    step = first_step
    with contextlib.closing(batches(make_pair, batch_size, first_step, workers)) as single:
        while True:
            count = steps(step)
            step += count
            parts = zip(*itertools.islice(single, count), strict=True)
            yield Batch(*(np.stack(part) for part in parts))
