"""Gin bindings as text, and errors raised while gin constructs objects."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

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


def value(macro: str) -> Any:
    """The value of an upper-case macro; None if it has none."""
    try:
        return gin.query_parameter(f"{macro}/gin.macro.value")
    except ValueError:
        return None


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
