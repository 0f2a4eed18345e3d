"""Versions of what results depend on, to be kept beside them."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence

import deblur_tf


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Versions of deblur_tf, Python and those of the packages that are installed, by name."""
    found = {"deblur_tf": deblur_tf.__version__, "python": platform.python_version()}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
