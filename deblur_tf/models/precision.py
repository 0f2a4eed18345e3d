"""The number format in which a stored model computes."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import keras

from deblur_tf.base.errors import UsageError

PRECISIONS = ("auto", "fp32", "bf16")
# Networks whose `dtype` is the format of their body; their output heads stay in float32.
BODIES = ("UNet", "MultiscaleGuidance", "StructurePredictor", "LatentUNet", "ControlBranch")
# Processors with one of these convolve faster in bfloat16.
_FAST = {"avx512_bf16", "amx_bf16"}


def dicts(value: Any) -> Iterator[dict[str, Any]]:
    """All dictionaries within a JSON value, nested ones included."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for entry in value:
            yield from dicts(entry)


def bf16_is_faster() -> bool:
    """Whether TensorFlow runs on a CPU with instructions for bfloat16, and on nothing else.

    XLA, and so JAX, does not use them for convolutions.
    """
    devices = keras.distribution.list_devices()
    if keras.backend.backend() != "tensorflow" or any("cpu" not in d.lower() for d in devices):
        return False
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        return False
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return bool(_FAST & set(flags.split())) and os.environ.get("TF_ENABLE_ONEDNN_OPTS") != "0"


def resolved(precision: str | None) -> str | None:
    """What "auto" stands for here: "bf16" where that is faster, otherwise None.

    Args:
      precision: one of `PRECISIONS`, or None: as the model was trained.

    Raises:
      UsageError: for another value.
    """
    if precision is not None and precision not in PRECISIONS:
        raise UsageError(f"precision {precision!r}: give one of {', '.join(PRECISIONS)}")
    if precision == "auto":
        return "bf16" if bf16_is_faster() else None
    return precision


def apply(config: dict[str, Any], precision: str | None) -> None:
    """Changes the bodies of a model's configuration to a precision, see `resolved`."""
    if precision is None:
        return
    policy = {"fp32": "float32", "bf16": "mixed_bfloat16"}[precision]
    for part in dicts(config):
        if part.get("class_name") in BODIES:
            dtype = keras.saving.serialize_keras_object(keras.DTypePolicy(policy))
            part["config"]["dtype"] = dtype


def precision_of(model: keras.Model) -> str:
    """ "bf16" if a part of a model computes in bfloat16, otherwise "fp32"."""
    config = keras.saving.serialize_keras_object(model)
    return "bf16" if "bfloat16" in json.dumps(config, default=str) else "fp32"


def without_dtypes(config: Any) -> Any:
    """A model's configuration without the number formats of its layers."""
    if isinstance(config, dict):
        return {k: without_dtypes(v) for k, v in config.items() if k != "dtype"}
    if isinstance(config, list):
        return [without_dtypes(entry) for entry in config]
    return config
