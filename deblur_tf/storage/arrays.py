"""Named arrays: the variables of a model, and files of them."""

from __future__ import annotations

import math
import os
import pathlib
import shlex
import zipfile
from collections.abc import Iterable, Mapping

import keras
import numpy as np

from deblur_tf.base.errors import CheckpointError, DataError
from deblur_tf.base.files import replacing

Arrays = dict[str, np.ndarray]


def named_variables(
    layer: keras.layers.Layer, trainable_only: bool = False
) -> dict[str, keras.Variable]:
    """The layer's variables by path, without the layer's own name.

    Raises:
      ValueError: if two variables share a path.
    """
    variables = layer.trainable_variables if trainable_only else layer.variables
    named = {v.path.split("/", 1)[1]: v for v in variables}
    if len(named) != len(variables):
        raise ValueError(f"{layer.name}: two variables share one path")
    return named


def frozen_variables(layer: keras.layers.Layer) -> dict[str, keras.Variable]:
    """The layer's variables that training does not change, named as by `named_variables`."""
    trained = named_variables(layer, trainable_only=True)
    return {n: v for n, v in named_variables(layer).items() if n not in trained}


def values_of(variables: Mapping[str, keras.Variable]) -> Arrays:
    """The values of variables by name."""
    return {name: keras.ops.convert_to_numpy(v.value) for name, v in variables.items()}


def parts_of(names: Iterable[str]) -> set[str]:
    """The parts of a model to which variables belong: what their names begin with."""
    return {name.split("/")[0] for name in names}


def assign_named(
    variables: Mapping[str, keras.Variable], values: Mapping[str, np.ndarray], source: str
) -> None:
    """Assigns arrays to variables by name, after checking all of them.

    Raises:
      CheckpointError: naming `source` and the first differences, if names or
        shapes do not match.
    """
    missing = sorted(set(variables) - set(values))
    unknown = sorted(set(values) - set(variables))
    reshaped = [
        f"{n} {values[n].shape} != {tuple(v.shape)}"
        for n, v in variables.items()
        if n in values and tuple(v.shape) != values[n].shape
    ]
    problems = [
        f"{what}: {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}"
        for what, names in (
            ("missing", missing),
            ("not in the model", unknown),
            ("of another shape", reshaped),
        )
        if names
    ]
    if problems:
        raise CheckpointError(f"{source}: weights do not fit the model; " + "; ".join(problems))
    for name, variable in variables.items():
        variable.assign(values[name])


def select(values: Mapping[str, np.ndarray], prefix: str) -> Arrays:
    """The entries below "prefix/", without the prefix."""
    start = prefix + "/"
    return {n[len(start) :]: a for n, a in values.items() if n.startswith(start)}


def write_npz(path: str | os.PathLike[str], values: Mapping[str, np.ndarray]) -> None:
    """Writes arrays to a file that appears whole or not at all."""
    with replacing(path, sync=True) as file:
        np.savez(file, **values)  # type: ignore[arg-type]


def read_npz(path: str | os.PathLike[str]) -> Arrays:
    """Reads what `write_npz` wrote.

    Runs no code from the file, and rejects archives that would expand far beyond its size.

    Raises:
      CheckpointError: if the file is missing, damaged or of another kind.
    """
    try:
        _check_npz(path)
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise CheckpointError(f"{path}: holds one array and no names; an .npz file is needed")
        with archive:
            return {name: archive[name] for name in archive.files}
    except CheckpointError:
        raise
    except MemoryError as error:
        raise CheckpointError(f"{path}: too large for the memory of this machine") from error
    except Exception as error:  # damaged archives raise errors of many types
        raise CheckpointError(f"{path}: cannot be read ({error})") from error


def _check_npz(path: str | os.PathLike[str]) -> None:
    """Checks that an archive's arrays have the sizes that their headers declare.

    Raises:
      CheckpointError: if a member would expand far beyond its compressed size, or an array's
        header declares more data than there is.
    """
    with open(path, "rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return  # one array, or no archive at all: `np.load` says which
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            # write_npz does not compress; savez_compressed gains little on weights.
            if member.file_size > 20 * member.compress_size + 4096:
                raise CheckpointError(
                    f"{path}: {member.filename} would expand to {member.file_size:,} bytes; "
                    "this is not a file of weights"
                )
            with archive.open(member) as opened:
                version = np.lib.format.read_magic(opened)
                read = {1: np.lib.format.read_array_header_1_0}.get(
                    version[0], np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = read(opened)
            if math.prod(shape) * dtype.itemsize > member.file_size:
                raise CheckpointError(
                    f"{path}: {member.filename} says that it is of shape {shape}, and is smaller"
                )


def read_tensors(path: str | os.PathLike[str]) -> Arrays:
    """The arrays of a .safetensors or .npz file; no file is ever unpickled.

    Raises:
      DataError: if the file is missing, of another format, or a damaged .safetensors file.
      CheckpointError: if an .npz file cannot be read.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.suffix == ".npz":
        return read_npz(path)
    if path.suffix != ".safetensors":
        code = (
            "import torch; from safetensors.torch import save_file; d = "
            f"torch.load({str(path)!r}, map_location='cpu', weights_only=True); save_file("
            f"{{k: v.float().contiguous() for k, v in d.items()}}, {path.stem + '.safetensors'!r})"
        )
        raise DataError(
            f"{path}: only .safetensors and .npz are read, since opening other formats can "
            "run code hidden in them. To convert the file, where PyTorch is installed: "
            f"python -c {shlex.quote(code)}"
        )
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
