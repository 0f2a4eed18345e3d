"""A model on disk, apart from its training: configuration and weights.

A model folder holds `model.json` (the Keras configuration, with the sampling settings under
"sampling" and the measured curve under "fidelity") and either `weights.npz` (a released
model) or `checkpoints/` (a training run, whose averaged weights are used).
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

from deblur_tf.base.backend import shapes_only
from deblur_tf.base.errors import CheckpointError, ModelError, UsageError
from deblur_tf.base.files import read_json, sha256, write_text
from deblur_tf.base.registry import PACKAGE
from deblur_tf.diffusion.fidelity import FidelityCurve
from deblur_tf.diffusion.sampling import DEFAULT_SAMPLING, SamplingSettings
from deblur_tf.models import (  # noqa: F401  (Keras' registry)
    alignment,
    deblurdiff,
    deconvolved,
    dvsr,
    precision,
    regression,
)
from deblur_tf.storage.arrays import (
    Arrays,
    assign_named,
    named_variables,
    read_npz,
    select,
    values_of,
    write_npz,
)
from deblur_tf.storage.checkpoints import Checkpoints, read_checkpoint
from deblur_tf.storage.model_folders import CONFIG_FILE, FROZEN_FILE, WEIGHTS_FILE, find

SAMPLING_KEY, CURVE_KEY, CHECKSUM_KEY = "sampling", "fidelity", "weights_sha256"
_BESIDE = (SAMPLING_KEY, CURVE_KEY, CHECKSUM_KEY)
# Classes that stored models name as earlier versions did.
RENAMED = {f"{PACKAGE}>Once": "StepIndependentPredictor"}

# Classes of Keras that a configuration may name; all others must be registered, by this package
# or by classes of your own that are imported first.
_OF_KERAS = ("DTypePolicy",)


MAX_CONFIG = 4 << 20  # bytes of a model.json

# Which weights of a run are taken: averages over its steps, or those of the last step.
AVERAGED, RAW = "ema", "raw"


class LoadedModel(NamedTuple):
    """A model from disk.

    Attributes:
      model: built, with its (averaged) weights.
      origin: one line that says where the weights come from.
      sampling: the settings that suit it best.
      curve: perception against distortion, if it was measured.
    """

    model: keras.Model
    origin: str
    sampling: SamplingSettings
    curve: FidelityCurve | None = None


def _model_config(model: keras.Model) -> dict[str, Any]:
    """The model's configuration after a round trip through JSON, in float32 whatever its policy.

    A policy belongs to the machine that trains: bfloat16 is slow on many CPUs. A class
    is found by its registered name, whichever module defines it.
    """
    return _portable(json.dumps(keras.saving.serialize_keras_object(model)))


def _portable(text: str) -> dict[str, Any]:
    text = re.sub(r'"mixed_(bfloat16|float16)"', '"float32"', text)
    # Which parts are frozen follows from the class; earlier versions stored it too.
    text = re.sub(r'"trainable": (true|false),', "", text)
    return json.loads(re.sub(r'"module": "deblur_tf[^"]*"', '"module": "deblur_tf"', text))


def save_model_config(
    model: keras.Model,
    folder: str | os.PathLike[str],
    sampling: SamplingSettings = DEFAULT_SAMPLING,
    curve: FidelityCurve | None = None,
    checksum: str | None = None,
) -> None:
    """Writes the model's configuration, settings and curve to `folder`/model.json.

    `checksum` is the SHA-256 of the weights.npz in the same folder, if there is one.
    """
    beside: dict[str, Any] = {SAMPLING_KEY: dataclasses.asdict(sampling)}
    if curve is not None:
        beside[CURVE_KEY] = curve.to_json()
    if checksum is not None:
        beside[CHECKSUM_KEY] = checksum
    text = json.dumps(_model_config(model) | beside, indent=1) + "\n"
    write_text(pathlib.Path(folder) / CONFIG_FILE, text)


def same_model_config(model: keras.Model, folder: str | os.PathLike[str]) -> bool:
    """Whether `folder` has no model yet, or one with this configuration."""
    path = pathlib.Path(folder) / CONFIG_FILE
    if not path.exists():
        return True
    found = _portable(path.read_text(encoding="utf-8"))
    for key in _BESIDE:
        found.pop(key, None)
    return found == _model_config(model)


def same_architecture(model: keras.Model, build: Callable[[], keras.Model]) -> bool:
    """Whether a built model has the configuration of the one that `build` makes.

    The number formats of layers may differ: they change neither weights nor shapes.
    """
    with shapes_only():
        other = build()
        if not other.built:
            other.build()
    found = (precision.without_dtypes(_model_config(each)) for each in (other, model))
    return next(found) == next(found)


def check_settings(model: keras.Model, name_or_dir: str | os.PathLike[str]) -> None:
    """Refuses weights that were trained under settings that the model does not share.

    Args:
      model: the model that is to start from the weights.
      name_or_dir: where the weights are, see `load_model`.

    Raises:
      ModelError: if there is no such model, or its configuration is damaged.
      UsageError: naming the settings that differ, see `Restorer.settings_of_weights`.
    """
    folder, _ = find(name_or_dir)
    there, here = _read_json(folder / CONFIG_FILE), _model_config(model)
    source = keras.saving.get_custom_objects().get(there.get("registered_name"))
    shared = [
        n for n in model.settings_of_weights if n in getattr(source, "settings_of_weights", ())
    ]
    try:
        different = [
            f"{name} is {_setting(there, name)} there, {_setting(here, name)} here"
            for name in shared
            if _setting(there, name) != _setting(here, name)
        ]
    except (KeyError, TypeError) as error:
        path = folder / CONFIG_FILE
        raise ModelError(f"{path}: not a model configuration ({error!r})") from error
    if different:
        raise UsageError(f"{folder}: its weights are for other settings ({'; '.join(different)})")


def _setting(config: dict[str, Any], name: str) -> Any:
    """The value of "part.setting" in a configuration; for an object, the name of its class."""
    value: Any = config
    for part in name.split("."):
        value = value["config"][part]
    return value["class_name"] if isinstance(value, dict) else value


def save_model(
    model: keras.Model,
    folder: str | os.PathLike[str],
    sampling: SamplingSettings = DEFAULT_SAMPLING,
    dtype: str = "float16",
    curve: FidelityCurve | None = None,
) -> None:
    """Writes a model as `model.json` and `weights.npz`.

    Args:
      model: built, with the weights to store.
      folder: created if missing.
      sampling: the settings that suit it best.
      dtype: dtype of the stored weights; float16 halves the file.
      curve: perception against distortion, if it was measured.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = values_of(named_variables(model))
    write_npz(folder / WEIGHTS_FILE, {name: w.astype(dtype) for name, w in weights.items()})
    save_model_config(model, folder, sampling, curve, sha256(folder / WEIGHTS_FILE))


def load_model(
    name_or_dir: str | os.PathLike[str],
    number_format: str | None = None,
    weights: str = AVERAGED,
) -> LoadedModel:
    """A model with its weights and its sampling settings.

    Args:
      name_or_dir: name of a model in the package ("tiny"); a folder: a run
        directory or a released model; or one file in a run's `checkpoints/`.
      number_format: see `precision.resolved`.
      weights: see `load_weights`.

    Raises:
      ModelError: if there is no such model, or a file is missing or damaged.
      UsageError: if there is no such number format, or there are no such weights.
    """
    chosen = precision.resolved(number_format)
    folder, _ = find(name_or_dir)
    config = _read_json(folder / CONFIG_FILE)
    checksum = config.get(CHECKSUM_KEY)
    weights_file = folder / WEIGHTS_FILE
    if checksum is not None and weights_file.is_file() and sha256(weights_file) != checksum:
        raise ModelError(
            f"{weights_file}: damaged, or of another model: its checksum is not the one in "
            f"{CONFIG_FILE}"
        )
    values, origin = load_weights(name_or_dir, weights)
    _check_classes(config, folder / CONFIG_FILE)
    _check_numbers(config, values, folder / CONFIG_FILE)
    precision.apply(config, chosen)
    model, sampling, curve = _build(config, folder / CONFIG_FILE)
    try:
        assign_named(named_variables(model), values, origin)
    except CheckpointError as error:
        raise ModelError(str(error)) from error
    return LoadedModel(model, origin, sampling, curve)


def load_weights(
    name_or_dir: str | os.PathLike[str], weights: str = AVERAGED
) -> tuple[Arrays, str]:
    """The weights of a model by name, and one line that says where they come from.

    Args:
      name_or_dir: see `load_model`.
      weights: "ema" for the averages over the steps of training, "raw" for the weights of the last
        step, which only a run has.

    Raises:
      ModelError: if there is no such model, or a file is missing or damaged.
      UsageError: if there are no such weights.
    """
    if weights not in (AVERAGED, RAW):
        raise UsageError(f"weights={weights!r}: choose {AVERAGED} or {RAW}")
    folder, chosen = find(name_or_dir)
    released = chosen is None and (folder / WEIGHTS_FILE).is_file()
    if released and weights == RAW:
        raise UsageError(
            f"{folder}: has averaged weights alone; the raw ones are in a run of deblur-train"
        )
    try:
        if released:
            source, values = folder / WEIGHTS_FILE, read_npz(folder / WEIGHTS_FILE)
            origin = f"{source} (averaged weights)"
        else:
            found = (chosen, read_checkpoint(chosen)) if chosen else Checkpoints(folder).load()
            if found is None:
                raise ModelError(
                    f"{folder}: no weights there yet, neither {WEIGHTS_FILE} nor a checkpoint"
                )
            source, state = found
            values = select(state, "model")
            if weights == AVERAGED:
                values |= select(state, "ema")
            if (folder / FROZEN_FILE).is_file():
                values |= read_npz(folder / FROZEN_FILE)
            kind = "averaged weights of" if weights == AVERAGED else "weights of"
            origin = f"{source} ({kind} step {int(state['step'])})"
        values = {name: np.asarray(w, np.float32) for name, w in values.items()}
    except CheckpointError as error:
        raise ModelError(str(error)) from error
    except ValueError as error:
        raise ModelError(f"{source}: holds something other than numbers ({error})") from error
    return values, origin


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    try:
        config = read_json(path, MAX_CONFIG)
    except (ValueError, OSError) as error:
        raise ModelError(f"{path}: not a model configuration ({error})") from error
    if not isinstance(config, dict):
        raise ModelError(f"{path}: not a model configuration")
    for part in precision.dicts(config):
        if (new := RENAMED.get(part.get("registered_name", ""))) is not None:
            part["registered_name"], part["class_name"] = f"{PACKAGE}>{new}", new
    return config


def _check_classes(config: dict[str, Any], path: pathlib.Path) -> None:
    """Checks that a configuration names registered classes only, so that it imports nothing.

    Raises:
      ModelError: naming the first class that is not registered.
    """
    known = keras.saving.get_custom_objects()
    for part in precision.dicts(config):
        if "class_name" not in part:
            continue
        of_keras = part.get("module") == "keras" and part["class_name"] in _OF_KERAS
        if part.get("registered_name") not in known and not of_keras:
            raise ModelError(
                f"{path}: names the class {part.get('module')}.{part['class_name']}, which is not "
                "part of this package; import classes of your own before loading (--import=MODULE)"
            )


def _check_numbers(config: dict[str, Any], weights: Arrays, path: pathlib.Path) -> None:
    """Refuses a configuration whose network would be far larger than its weights.

    Raises:
      ModelError: naming the number that is too large.
    """
    widest = max((max(w.shape, default=1) for w in weights.values()), default=1)
    limit = max(4 * widest, 1024)
    for part in precision.dicts({k: v for k, v in config.items() if k not in _BESIDE}):
        for name, value in part.items():
            for number in value if isinstance(value, list) else [value]:
                if isinstance(number, int | float) and abs(number) > limit:
                    raise ModelError(f"{path}: {name} is {number}, and the weights are smaller")


def _build(
    config: dict[str, Any], path: pathlib.Path
) -> tuple[keras.Model, SamplingSettings, FidelityCurve | None]:
    config = dict(config)
    config.pop(CHECKSUM_KEY, None)
    try:
        sampling = SamplingSettings(**config.pop(SAMPLING_KEY, {}))
        curve = config.pop(CURVE_KEY, None)
        curve = None if curve is None else FidelityCurve.from_json(curve)
        model = keras.saving.deserialize_keras_object(config)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"{path}: not a model configuration ({error})") from error
    if not isinstance(model, keras.Model):
        raise ModelError(f"{path}: not a model configuration")
    if not model.built:
        model.build()
    return model, sampling, curve
