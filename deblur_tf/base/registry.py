"""One decorator that makes a class known to gin files and to model.json."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import gin
import keras

PACKAGE = "deblur_tf"
C = TypeVar("C", bound=Callable[..., Any])

# Keras stores these itself.
_KERAS_ARGUMENTS = ("name", "dtype", "trainable")


# Parameters of each configurable that may change when a run is resumed.
_RESUMABLE: dict[str, frozenset[str]] = {}


def resumable(*parameters: str) -> Callable[[C], C]:
    """Declares parameters whose values may change when a run is resumed.

    They affect how long a run lasts, what it reports, how fast it is or where its data lies,
    but not what a training step computes. Place this decorator below `configurable`.
    """

    def declare(cls: C) -> C:
        _RESUMABLE[cls.__name__] = frozenset(parameters)
        return cls

    return declare


def may_change_on_resume(parameter: str) -> bool:
    """Whether "Name.parameter" or "scope/Name.parameter" is declared by `resumable`."""
    owner, _, name = parameter.rsplit("/", 1)[-1].rpartition(".")
    return name in _RESUMABLE.get(owner.rsplit(".", 1)[-1], ())


def configurable(cls: C) -> C:
    """Registers a class or function with gin and, if it can be serialised, with Keras.

    A Keras layer or model gets `get_config` and `from_config` from the signature of its
    constructor: each argument is read from the attribute of the same name, or from the one that
    the class names in `stored_as`. Other classes are registered with Keras if they define
    `get_config`.
    """
    if inspect.isclass(cls):
        if issubclass(cls, keras.layers.Layer):
            setattr(cls, "get_config", _get_config)  # noqa: B010
            setattr(cls, "from_config", classmethod(_from_config))  # noqa: B010
        if hasattr(cls, "get_config"):
            keras.saving.register_keras_serializable(package=PACKAGE)(cls)
    return gin.register(cls)


def _get_config(self: keras.layers.Layer) -> dict[str, Any]:
    """Constructor arguments."""
    stored_as = getattr(self, "stored_as", {})
    config = keras.layers.Layer.get_config(self)
    # Owners freeze their layers: one constructed as not trainable would stay partly frozen.
    config.pop("trainable", None)
    for name in _arguments(type(self)):
        config[name] = _serialized(getattr(self, stored_as.get(name, name)))
    return config


def _from_config(cls: type, config: dict[str, Any]) -> Any:
    """The inverse of `get_config`."""
    return cls(**{name: _deserialized(value) for name, value in config.items()})


def _arguments(cls: type) -> list[str]:
    """Names of the constructor's arguments, including those passed on to base classes."""
    names: list[str] = []
    for base in cls.__mro__:
        if base in (keras.Model, keras.layers.Layer):
            break
        if "__init__" in base.__dict__:
            parameters = inspect.signature(base.__init__).parameters.values()
            kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
            found = [p.name for p in parameters if p.kind in kinds and p.name != "self"]
            names += [n for n in found if n not in (*names, *_KERAS_ARGUMENTS)]
    return names


def _serialized(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str, tuple, list)):
        return value
    config = keras.saving.serialize_keras_object(value)
    config.pop("build_config", None)  # its owner builds it
    return config


def _deserialized(value: Any) -> Any:
    stored = isinstance(value, dict) and "class_name" in value
    return keras.saving.deserialize_keras_object(value) if stored else value
