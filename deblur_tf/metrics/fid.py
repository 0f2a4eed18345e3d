"""FID and KID of patches, on features of the Inception network of 2015 (DvSR sec. 5.3)."""

from __future__ import annotations

import functools
import os
import typing
from collections.abc import Callable
from typing import Literal

import gin
import numpy as np

from deblur_tf.base.errors import ConfigError
from deblur_tf.base.registry import configurable
from deblur_tf.metrics import distances, inception
from deblur_tf.metrics.base import Features, SetMetric
from deblur_tf.metrics.patches import PAPER_PATCH, patches
from deblur_tf.metrics.weights import WeightFile, check_arrays, find, sha256
from deblur_tf.storage.arrays import read_npz

FILES = (
    WeightFile(
        "inception_2015.npz",
        "pytorch-fid's pt_inception-2015-12-05-6726825d.pth (the digits begin its SHA-256)",
        "deblur-weights convert inception --trunk=pt_inception-2015-12-05-6726825d.safetensors",
    ),
    WeightFile(
        "classify_image_graph_def.pb",
        "inception-2015-12-05.tgz of TensorFlow",
        "unpack it into one of these folders",
    ),
)
Resize = Literal["legacy_tf", "half_pixel"]
Estimator = Literal["full", "blocks", "subsets"]
Extractor = Callable[[np.ndarray], np.ndarray]
BATCH = 5  # patches per evaluation of the network


@functools.lru_cache
def _extractor(path: str, resize: Resize) -> Extractor:
    if path.endswith(".pb"):
        if resize != "legacy_tf":
            raise ConfigError(f"{path} resizes as legacy_tf does, not as {resize}")
        return inception.graph_extractor(path)
    arrays = check_arrays(read_npz(path), inception.shapes(), path)
    return functools.partial(inception.features, arrays=arrays, legacy=resize == "legacy_tf")


def patch_features(image: np.ndarray, extractor: Extractor, patch: tuple[int, int]) -> np.ndarray:
    """Features of all patches of an image: uint8 [H, W, 3] -> float32 [patches, D]."""
    cut = patches(image, patch)
    batches = [cut[i : i + BATCH] for i in range(0, len(cut), BATCH)]
    return np.concatenate([extractor(batch) for batch in batches])


@configurable
def inception_features(
    weights: str | os.PathLike[str] | None = None,
    patch: tuple[int, int] = PAPER_PATCH,
    resize: Resize = "legacy_tf",
) -> Features:
    """The network's features of all patches of a picture.

    Args:
      weights: folder of metric weights.
      patch: height and width in pixels.
      resize: how patches are resized to 299x299 pixels: "legacy_tf" as the graph of 2015
        does, "half_pixel" as later versions of TensorFlow do.

    Raises:
      UnavailableError: if the weights are missing.
    """
    if resize not in typing.get_args(Resize):
        raise ConfigError(
            f"inception_features.resize: no {resize!r}; there are legacy_tf, half_pixel"
        )
    path = find(FILES, weights)
    extractor = _extractor(str(path), resize)
    about = {"file": path.name, "sha256": sha256(path), "patch": list(patch), "resize": resize}
    return Features("inception", lambda image: patch_features(image, extractor, patch), about)


@configurable
def fid(weights: str | os.PathLike[str] | None = None) -> SetMetric:
    """Frechet inception distance as a metric; see `inception_features`."""
    found = gin.get_configurable(inception_features)(weights)
    patch = tuple(found.about["patch"])
    return SetMetric("fid", "FID", 2, found, distances.fid, patch, about=found.about)


@configurable
def kid(
    weights: str | os.PathLike[str] | None = None,
    estimator: Estimator = "full",
    size: int | None = None,
    subsets: int = 100,
    seed: int = 0,
) -> SetMetric:
    """Kernel inception distance, times 1000 as in the papers, as a metric.

    Args:
      weights: folder of metric weights.
      estimator: "full": over all pairs of patches; "blocks": mean over blocks of at most
        `size` patches; "subsets": mean over random subsets of `size` patches. All have the
        same expectation.
      size: patches in a block or subset; None: 1024 for blocks, 1000 for subsets, as usual.
      subsets: number of random subsets.
      seed: random seed of blocks and subsets.
    """
    estimators = {
        "full": distances.kid_full,
        "blocks": functools.partial(distances.kid_blocks, size=size or 1024, seed=seed),
        "subsets": functools.partial(
            distances.kid_subsets, size=size or 1000, subsets=subsets, seed=seed
        ),
    }
    if estimator not in estimators:
        raise ConfigError(f"kid.estimator: no {estimator!r}; there are {', '.join(estimators)}")
    found = gin.get_configurable(inception_features)(weights)
    chosen = estimators[estimator]
    about = {**found.about, "estimator": estimator}
    if estimator != "full":
        about |= {"size": size, "subsets": subsets, "seed": seed}
    return SetMetric(
        "kid",
        "KID (x1000)",
        2,
        found,
        lambda a, b: 1000 * chosen(a, b),
        patch=tuple(found.about["patch"]),
        about=about,
    )
