"""Training pairs that other processes make in advance and that are used several times each."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool

import numpy as np

from deblur_tf.base.errors import DataError
from deblur_tf.base.registry import configurable, resumable
from deblur_tf.data.augment import random_pair_crop
from deblur_tf.data.pair_source import ImagePair, PairSource


@configurable
@resumable("processes")
class ReusedPairs(PairSource):
    """Several random crops, flipped and rotated, of each pair of another source.

    Pairs are used in blocks: the crops of `block` pairs come in a random order, `uses` crops per
    pair, followed by the crops of the next `block` pairs. A crop is a pure function of its
    number, so a resumed run sees the crops it would have seen. Low-priority processes make the
    pairs of the next block while the current block is used.

    Args:
      source: builds the source of the pairs, which must be picklable.
      crop_size: side of a crop in pixels, at most the side of the source's pairs.
      uses: crops per pair.
      block: pairs whose crops are mixed; two blocks are kept in memory.
      processes: processes that make pairs; 0: this process makes them on demand.
      seed: seed of order, crops and orientations.
    """

    def __init__(
        self,
        source: Callable[[], PairSource],
        crop_size: int = 128,
        uses: int = 8,
        block: int = 256,
        processes: int = 1,
        seed: int = 0,
    ):
        self.source = source()
        if crop_size > self.source.crop_size:
            raise ValueError(
                f"ReusedPairs: crops of {crop_size} pixels cannot be taken from pairs of "
                f"{self.source.crop_size}"
            )
        for name, value in (("uses", uses), ("block", block)):
            if value < 1:
                raise ValueError(f"ReusedPairs: {name} must be 1 or more, got {value}")
        self.crop_size = crop_size
        self.uses = uses
        self.block = block
        self.processes = processes
        self.seed = seed
        self._pool: concurrent.futures.Executor | None = None
        self._lock = threading.Lock()
        self._blocks: dict[int, dict[int, concurrent.futures.Future[ImagePair]]] = {}
        self._orders: dict[int, np.ndarray] = {}
        self._closed = False

    def describe(self) -> str:
        """A phrase for the first line that a run prints."""
        return f"{self.source.describe()}, {self.uses} crops per pair"

    def __call__(self, index: int) -> ImagePair:
        """Crop number `index`: blurry and sharp, uint8 [crop, crop, 3] each.

        Raises:
          DataError: if its pair cannot be made.
        """
        block, position = divmod(int(index), self.block * self.uses)
        with self._lock:
            number = self._order(block)[position]
            pair = self._request(block)[number]
            self._request(block + 1)
            for old in [b for b in self._blocks if b not in (block - 1, block, block + 1)]:
                for future in self._blocks.pop(old).values():
                    future.cancel()
                del self._orders[old]
        try:
            blurry, sharp = pair.result()
        except BrokenProcessPool as error:
            raise DataError(
                "a process that makes training pairs was killed, perhaps because memory ran out; "
                "repeat the command to continue the run, or set ReusedPairs.processes = 0 to make "
                "the pairs without other processes"
            ) from error
        rng = np.random.default_rng((self.seed, int(index)))
        return random_pair_crop(blurry, sharp, self.crop_size, rng)

    def close(self) -> None:
        """Ends the processes, which would else make all pairs that were asked for before."""
        with self._lock:
            self._closed = True
            pool, self._pool = self._pool, None
            self._blocks.clear()
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)

    def _order(self, block: int) -> np.ndarray:
        """The pair of each position in a block."""
        if block not in self._orders:
            rng = np.random.default_rng((self.seed, block, 1))
            order = rng.permutation(self.block * self.uses) // self.uses
            self._orders[block] = block * self.block + order
        return self._orders[block]

    def _request(self, block: int) -> dict[int, concurrent.futures.Future[ImagePair]]:
        """Futures of a block's pairs, requested in the order in which they are used first."""
        if block not in self._blocks:
            numbers = dict.fromkeys(self._order(block).tolist())
            self._blocks[block] = {n: self._submit(n) for n in numbers}
        return self._blocks[block]

    def _submit(self, number: int) -> concurrent.futures.Future[ImagePair]:
        if self._closed:
            raise RuntimeError("ReusedPairs: pairs are asked for after close()")
        if not self.processes:
            return _Lazy(self.source, number)
        if self._pool is None:
            self._pool = concurrent.futures.ProcessPoolExecutor(
                self.processes,
                multiprocessing.get_context("spawn"),
                initializer=_begin,
                initargs=(self.source,),
            )
        return self._pool.submit(_make, number)


class _Lazy(concurrent.futures.Future[ImagePair]):
    """A pair that is made when its result is requested."""

    def __init__(self, source: PairSource, number: int):
        super().__init__()
        self._make = lambda: source(number)
        self._making = threading.Lock()

    def result(self, timeout: float | None = None) -> ImagePair:
        """The pair."""
        with self._making:
            if not self.done():
                self.set_result(self._make())
        return super().result(timeout)


_source: PairSource | None = None


def _begin(source: PairSource) -> None:
    """Initialises a process that makes pairs, at low priority so that training comes first."""
    global _source
    os.nice(10)
    # Ctrl-C reaches all processes of a terminal; the one that trains ends these.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _source = source


def _make(number: int) -> ImagePair:
    assert _source is not None
    return _source(number)
