"""Makes the weight files of metrics from the files that their authors publish."""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from deblur_tf.base.errors import DataError
from deblur_tf.metrics import fid, inception, lpips, niqe
from deblur_tf.metrics.weights import check_arrays
from deblur_tf.storage.arrays import Arrays, read_tensors, write_npz

# Indices of the convolutions in torchvision's `features`, block by block.
_LAYERS = {
    "alex": ((0,), (3,), (6,), (8,), (10,)),
    "vgg": ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)),
}


class _Source:
    """Takes arrays out of a file, and raises errors for missing and unexpected ones."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = path
        self.arrays = dict(read_tensors(path))

    def take(self, name: str, rank: int | None = None) -> np.ndarray:
        """Raises DataError if the array is missing or of another rank."""
        if name not in self.arrays:
            raise DataError(f"{self.path}: has no {name}; is it the file that --help names?")
        found = np.asarray(self.arrays.pop(name), "float32")
        if rank is not None and found.ndim != rank:
            raise DataError(f"{self.path}: {name} has shape {found.shape}; expected {rank} axes")
        return found

    def finish(self, ignored: str) -> None:
        """Raises DataError if arrays are left whose names do not match the pattern."""
        more = [name for name in self.arrays if not re.match(ignored, name)]
        if more:
            raise DataError(f"{self.path}: has {more[0]} and {len(more) - 1} more; not such a file")


def _kernel(found: np.ndarray) -> np.ndarray:
    """PyTorch's [out, in, height, width] -> [height, width, in, out]."""
    return found.transpose(2, 3, 1, 0)


def lpips_arrays(
    net: lpips.Net, trunk: str | os.PathLike[str], heads: str | os.PathLike[str]
) -> Arrays:
    """The arrays of LPIPS from torchvision's classifier and lpips' v0.1 heads.

    Raises:
      DataError: if a file has missing, unexpected or misshapen arrays.
    """
    layers, lines = _Source(trunk), _Source(heads)
    found: Arrays = {}
    for i, numbers in enumerate(_LAYERS[net]):
        for j, number in enumerate(numbers):
            found[f"{i}/{j}/kernel"] = _kernel(layers.take(f"features.{number}.weight", 4))
            found[f"{i}/{j}/bias"] = layers.take(f"features.{number}.bias", 1)
        found[f"{i}/head"] = lines.take(f"lin{i}.model.1.weight", 4).reshape(-1)
    layers.finish(r"classifier\.")
    lines.finish(r"$")
    return check_arrays(found, lpips.shapes(net), trunk)


def inception_arrays(path: str | os.PathLike[str]) -> Arrays:
    """The arrays of Inception from pytorch-fid's file, normalisations folded into convolutions.

    Raises:
      DataError: if the file has missing, unexpected or misshapen arrays.
    """
    source = _Source(path)
    found: Arrays = {}
    wanted = inception.shapes()
    for name in (n.removesuffix("/kernel") for n in wanted if n.endswith("/kernel")):
        kernel = _kernel(source.take(f"{name}.conv.weight", 4))
        gamma, beta, mean, variance = (
            source.take(f"{name}.bn.{part}", 1)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / np.sqrt(variance + np.float32(inception.EPSILON))
        found[f"{name}/kernel"] = kernel * scale
        found[f"{name}/bias"] = beta - mean * scale
    source.finish(r"fc\.|AuxLogits\.|.*num_batches_tracked$")
    return check_arrays(found, wanted, path)


def write_lpips(
    folder: pathlib.Path,
    net: lpips.Net,
    trunk: str | os.PathLike[str],
    heads: str | os.PathLike[str],
) -> pathlib.Path:
    """Writes `lpips_<net>_v0.1.npz` and returns its path; raises as `lpips_arrays`."""
    path = folder / lpips.FILES[net].name
    write_npz(path, lpips_arrays(net, trunk, heads))
    return path


def write_inception(folder: pathlib.Path, trunk: str | os.PathLike[str]) -> pathlib.Path:
    """Writes `inception_2015.npz` and returns its path; raises as `inception_arrays`."""
    path = folder / fid.FILES[0].name
    write_npz(path, inception_arrays(trunk))
    return path


def write_niqe(
    folder: pathlib.Path,
    photos: Sequence[np.ndarray],
    color: niqe.Color = "gray",
    on_photo: Callable[[], object] = lambda: None,
) -> pathlib.Path:
    """Fits NIQE's statistics to sharp photos and writes `niqe_pris_params.npz`.

    Photos with a side below 96 pixels are left out.

    Raises:
      DataError: if no photo is large enough.
    """

    def large() -> Iterator[np.ndarray]:
        for i in range(len(photos)):
            on_photo()
            photo = photos[i]
            if min(photo.shape[:2]) >= niqe.BLOCK:
                yield photo

    pristine = niqe.fit(large(), color)
    path = folder / niqe.FILE.name
    arrays = {
        "mu_pris_param": pristine.mean[None],
        "cov_pris_param": pristine.covariance,
        "color": np.array(color),
    }
    write_npz(path, arrays)
    return path
