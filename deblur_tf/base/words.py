"""Durations in words, and names that are safe to print."""

from __future__ import annotations

_CONTROL = {i: f"\\x{i:02x}" for i in (*range(32), *range(127, 160)) if chr(i) not in "\n\t"}


def printable(text: object) -> str:
    r"""A text whose control characters, which could drive a terminal, are written as \x1b."""
    return str(text).translate(_CONTROL)


def in_words(seconds: float) -> str:
    """About how long something takes, such as "40 s", "12 min" or "2.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
