"""Gin bindings as text, and errors raised while gin constructs objects."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import gin

from deblur_tf.base.errors import ConfigError


@contextlib.contextmanager
def construction_errors() -> Iterator[None]:
    """Context that turns errors raised while constructing objects into `ConfigError`.

    Raises:
      ConfigError: if a value has the wrong type, is missing or is refused.
    """
    try:
        yield
    except (TypeError, ValueError, RuntimeError) as error:
        # Drop gin's trace of the calls that led there.
        message = str(error).split("\n  In call to configurable")[0]
        raise ConfigError(f"bad configuration: {message}") from error


def all_bindings() -> str:
    """All bindings of files and overrides, used or not, as gin text."""
    return gin.config_str()


def operative() -> str:
    """All bindings that have been used so far, as gin text."""
    return gin.operative_config_str()


def parsed(text: str) -> dict[str, str]:
    """Parses gin text as gin prints it: the value of each binding, as text, by its name."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        if line[0].isspace():  # continues the previous binding
            found[name] += line.strip()
        else:
            name, _, value = line.partition(" = ")
            found[name] = value.rstrip("\\")
    return found
