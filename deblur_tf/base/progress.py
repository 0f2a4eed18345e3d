"""Progress bars on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

_COLUMNS, _LINES = 80, 24  # of a terminal that does not tell its size


def bar(items: Iterable[Any] | None = None, show: bool | None = None, **settings: Any) -> tqdm:
    """A `tqdm` bar on stderr with the time that is left; nothing where that is no terminal.

    Args:
      items: see `tqdm`.
      show: whether to show it; None: if stderr is a terminal.
      settings: see `tqdm`.
    """
    if show is None:
        show = sys.stderr.isatty()
    return tqdm(items, disable=not show, file=sys.stderr, **_size(), **settings)


def _size() -> dict[str, int]:
    """The size to assume where a terminal reports none, and `tqdm` would print empty bars."""
    try:
        columns, lines = os.get_terminal_size(sys.stderr.fileno())
    except (OSError, ValueError):  # no terminal
        return {}
    return {} if columns and lines else {"ncols": _COLUMNS, "nrows": _LINES}
