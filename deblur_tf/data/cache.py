"""Decoded images in memory, each loaded once no matter how many threads request it."""

from __future__ import annotations

import collections
import concurrent.futures
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np

Entry = TypeVar("Entry", np.ndarray, tuple[np.ndarray, ...])


class ImageCache(Generic[Entry]):
    """The most recently used results of `load`, up to a number of bytes.

    A thread that requests what another thread is loading waits for it. A failure is
    raised in all waiting threads and is not cached.

    Args:
      load: maps a key to an array or a tuple of arrays.
      max_bytes: size above which the least recently used results are dropped.
    """

    def __init__(self, load: Callable[[int], Entry], max_bytes: int):
        self._load = load
        self._max_bytes = self._free = max_bytes
        self._entries: collections.OrderedDict[int, concurrent.futures.Future[Entry]]
        self._entries = collections.OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """A cache that is pickled, e.g. for another process, starts empty there."""
        return ImageCache, (self._load, self._max_bytes)

    def __getitem__(self, key: int) -> Entry:
        with self._lock:
            entry = self._entries.get(key)
            mine = entry is None
            if entry is None:
                entry = self._entries[key] = concurrent.futures.Future()
            self._entries.move_to_end(key)
        if mine:
            try:
                value = self._load(key)
            except BaseException as error:
                with self._lock:
                    del self._entries[key]
                entry.set_exception(error)
                raise
            entry.set_result(value)
            self._make_room(_nbytes(value))
        return entry.result()

    def _make_room(self, taken: int) -> None:
        with self._lock:
            self._free -= taken
            for key in list(self._entries):
                if self._free >= 0:
                    break
                if self._entries[key].done():
                    self._free += _nbytes(self._entries.pop(key).result())


def _nbytes(value: np.ndarray | tuple[np.ndarray, ...]) -> int:
    return sum(a.nbytes for a in value) if isinstance(value, tuple) else value.nbytes
