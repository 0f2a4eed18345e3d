"""A model on disk, apart from its training: configuration and weights.

A model folder holds `model.json` (the Keras configuration, and under "sampling" the
settings to sample with) and either
`weights.npz` (a released model) or `checkpoints/` (a training run, of which
the averaged weights are used).
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import re
from typing import Any, NamedTuple

import keras
import numpy as np

from deblur_tf.arrays import (
    Arrays,
    assign_named,
    named_variables,
    read_npz,
    select,
    values_of,
    write_npz,
)
from deblur_tf.checkpoints import Checkpoints, read_checkpoint
from deblur_tf.diffusion.schedules import DEFAULT_SAMPLING, SamplingSettings
from deblur_tf.errors import CheckpointError, ModelError
from deblur_tf.files import write_text
from deblur_tf.model_folders import CONFIG_FILE, WEIGHTS_FILE, find
from deblur_tf.models import alignment, dvsr, regression  # noqa: F401  (Keras' registry)

SAMPLING_KEY = "sampling"


class LoadedModel(NamedTuple):
    """A model from disk.

    Attributes:
      model: built, with its (averaged) weights.
      origin: a line that says where the weights are from.
      sampling: the settings that suit it best.
    """

    model: keras.Model
    origin: str
    sampling: SamplingSettings


def _model_config(model: keras.Model) -> dict[str, Any]:
    """The model's configuration as JSON gives it back, in float32 whatever its policy.

    A policy belongs to the machine that trains: bfloat16 is slow on many CPUs. A class
    is found by its registered name, in whatever module it lies.
    """
    return _portable(json.dumps(keras.saving.serialize_keras_object(model)))


def _portable(text: str) -> dict[str, Any]:
    text = re.sub(r'"mixed_(bfloat16|float16)"', '"float32"', text)
    return json.loads(re.sub(r'"module": "deblur_tf[^"]*"', '"module": "deblur_tf"', text))


def save_model_config(
    model: keras.Model,
    folder: str | os.PathLike[str],
    sampling: SamplingSettings = DEFAULT_SAMPLING,
) -> None:
    """Writes the model's configuration and settings to `folder`/model.json."""
    settings = dataclasses.asdict(sampling)
    text = json.dumps(_model_config(model) | {SAMPLING_KEY: settings}, indent=1) + "\n"
    write_text(pathlib.Path(folder) / CONFIG_FILE, text)


def same_model_config(model: keras.Model, folder: str | os.PathLike[str]) -> bool:
    """Whether `folder` has no model yet, or one with this configuration."""
    path = pathlib.Path(folder) / CONFIG_FILE
    if not path.exists():
        return True
    found = _portable(path.read_text(encoding="utf-8"))
    found.pop(SAMPLING_KEY, None)
    return found == _model_config(model)


def save_model(
    model: keras.Model,
    folder: str | os.PathLike[str],
    sampling: SamplingSettings = DEFAULT_SAMPLING,
    dtype: str = "float16",
) -> None:
    """Writes a model as `model.json` and `weights.npz`.

    Args:
      model: built, with the weights to store.
      folder: made if missing.
      sampling: the settings that suit it best.
      dtype: of the stored weights; float16 halves the file.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_model_config(model, folder, sampling)
    weights = values_of(named_variables(model))
    write_npz(folder / WEIGHTS_FILE, {name: w.astype(dtype) for name, w in weights.items()})


def load_model(name_or_dir: str | os.PathLike[str]) -> LoadedModel:
    """A model with its (averaged) weights and its sampling settings.

    Args:
      name_or_dir: name of a model in the package ("tiny"); a folder: a run
        directory or a released model; or one file in a run's `checkpoints/`.

    Raises:
      ModelError: if there is no such model, or a file is missing or damaged.
    """
    folder, _ = find(name_or_dir)
    model, sampling = _read_config(folder / CONFIG_FILE)
    weights, origin = load_weights(name_or_dir)
    try:
        assign_named(named_variables(model), weights, origin)
    except CheckpointError as error:
        raise ModelError(str(error)) from error
    return LoadedModel(model, origin, sampling)


def load_weights(name_or_dir: str | os.PathLike[str]) -> tuple[Arrays, str]:
    """The (averaged) weights of a model by name, and a line on where they are from.

    Arguments and errors are those of `load_model`.
    """
    folder, chosen = find(name_or_dir)
    try:
        if chosen is None and (folder / WEIGHTS_FILE).is_file():
            source, weights = folder / WEIGHTS_FILE, read_npz(folder / WEIGHTS_FILE)
            origin = f"{source} (averaged weights)"
        else:
            found = (chosen, read_checkpoint(chosen)) if chosen else Checkpoints(folder).load()
            if found is None:
                raise ModelError(
                    f"{folder}: no weights there yet, neither {WEIGHTS_FILE} nor a checkpoint"
                )
            source, state = found
            # Untrained variables, if any, are not averaged.
            weights = select(state, "model") | select(state, "ema")
            origin = f"{source} (averaged weights of step {int(state['step'])})"
    except CheckpointError as error:
        raise ModelError(str(error)) from error
    return {name: np.asarray(w, np.float32) for name, w in weights.items()}, origin


def _read_config(path: pathlib.Path) -> tuple[keras.Model, SamplingSettings]:
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        sampling = SamplingSettings(**config.pop(SAMPLING_KEY, {}))
        model = keras.saving.deserialize_keras_object(config)
    except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        raise ModelError(f"{path}: not a model configuration ({error})") from error
    if not isinstance(model, keras.Model):
        raise ModelError(f"{path}: not a model configuration")
    if not model.built:
        model.build()
    return model, sampling
