"""The papers' analyses beyond their tables: image spaces, residuals, diversity, means."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gin
import numpy as np
from scipy import ndimage

from deblur_tf.base.errors import DataError, ModelError, UsageError
from deblur_tf.evaluation import results
from deblur_tf.evaluation.pairs import digest_of
from deblur_tf.evaluation.runner import FeatureStore
from deblur_tf.image_files.reading import open_image, read_rgb
from deblur_tf.metrics import distances
from deblur_tf.metrics.base import Features
from deblur_tf.metrics.fid import inception_features
from deblur_tf.metrics.patches import PAPER_PATCH
from deblur_tf.models.restorer import Prediction
from deblur_tf.networks.guidance import structure
from deblur_tf.numerics import image_ops


def sharpness(blurry: np.ndarray, sharp: np.ndarray) -> float:
    """||Laplacian of `blurry`|| / ||Laplacian of `sharp`|| (DvSR fig. 8).

    uint8 [H, W, 3] each.
    """
    return _norm(_laplacian(blurry)) / max(_norm(_laplacian(sharp)), 1e-12)


def diversity(samples: np.ndarray, sharp: np.ndarray) -> float:
    """||variance of each pixel|| / ||Laplacian of `sharp`|| (DvSR fig. 8).

    The paper does not give the range of pixel values; here it is [0, 1].

    Args:
      samples: float32 [N, H, W, 3] in [-1, 1], two or more.
      sharp: uint8 [H, W, 3].
    """
    variance = np.var(samples / 2.0, axis=0, ddof=1, dtype=np.float64)
    return _norm(variance) / max(_norm(_laplacian(sharp)), 1e-12)


def _laplacian(image: np.ndarray) -> np.ndarray:
    values = image / 255.0
    return np.stack([ndimage.laplace(values[..., c]) for c in range(image.shape[-1])], axis=-1)


def _norm(values: np.ndarray) -> float:
    return float(np.sqrt(np.sum(np.square(values))))


class Entropy:
    """Entropy of the pixel values of a set, in bits per value (DvSR sec. 6.1).

    Values are added picture by picture.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(511)  # of the values -255 ... 255

    def add(self, values: np.ndarray) -> None:
        """Adds 8-bit values or differences of such values, of any shape."""
        self._counts += np.bincount(values.reshape(-1).astype(int) + 255, minlength=511)

    def result(self) -> float:
        """The entropy of all values added so far."""
        shares = self._counts[self._counts > 0] / self._counts.sum()
        return float(-np.sum(shares * np.log2(shares)))


def prediction(deblurrer: Any, blurry: np.ndarray) -> np.ndarray:
    """The first prediction of a predict-and-refine model: uint8 [H, W, 3] -> the same shape.

    Raises:
      ModelError: if the model makes none.
    """
    prepared = deblurrer.prepare(blurry)
    if not isinstance(prepared.condition, Prediction):
        raise ModelError("this model makes no first prediction; use one such as DvSR")
    cut = image_ops.crop(prepared.condition.image, prepared.height, prepared.width)
    return image_ops.to_uint8_array(cut)[0]


def guidance_pictures(deblurrer: Any, blurry: np.ndarray) -> list[dict[str, np.ndarray]]:
    """What the guidance network receives and predicts, by scale (icDPM fig. 4 and 9).

    Returns:
      For each scale "input" and "prediction", uint8 [h, w, 1 or 3], and "features", the
      first three principal components of the guidance features, uint8 [h, w, 3].

    Raises:
      ModelError: if the model has no guidance.
    """
    prepared = deblurrer.prepare(blurry)
    guidance = getattr(prepared.condition, "guidance", None)
    if not guidance or not guidance.predictions:
        raise ModelError("this model has no guidance network")
    found = []
    for k, predicted, features in zip(
        deblurrer.model.guidance_scales, guidance.predictions, guidance.features, strict=True
    ):
        height, width = (-(-n // 2**k) for n in blurry.shape[:2])
        seen = structure(prepared.condition.blurry, k, deblurrer.model.guidance.target)
        pictures = {"input": seen, "prediction": predicted}
        cut = {n: image_ops.to_uint8_array(x)[0, :height, :width] for n, x in pictures.items()}
        cut["features"] = principal(np.array(features)[0, :height, :width])
        found.append(cut)
    return found


def principal(features: np.ndarray) -> np.ndarray:
    """The first three principal components as colours: [H, W, C] -> uint8 [H, W, 3].

    Each component is stretched between its 1st and 99th percentile; its sign is chosen so
    that its largest weight is positive.
    """
    rows = features.reshape(-1, features.shape[-1]).astype(np.float64)
    rows = rows - rows.mean(0)
    _, _, axes = np.linalg.svd(rows.T @ rows)
    axes = axes[:3]
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])[:, None]
    values = np.zeros((len(rows), 3))
    values[:, : len(axes)] = rows @ axes.T
    low, high = np.percentile(values, (1, 99), axis=0)
    scaled = np.clip((values - low) / np.maximum(high - low, 1e-12), 0, 1)
    return np.uint8(np.round(255 * scaled)).reshape(*features.shape[:2], 3)


# Image spaces of Table 1 as (name, scale); all are gray, with three equal channels.
SPACES = (
    ("Input", 0),
    *((name, k) for k in (1, 2, 3) for name in ("Input downsampled", "Guidance output")),
)


def space_distances(
    deblurrer: Any,
    sides: Sequence[str],
    output: pathlib.Path,
    weights: str | None = None,
    limit: int = 0,
    on_image: Callable[[], object] = lambda: None,
) -> list[dict[str, Any]]:
    """FID and KID between two sets of blurry pictures in several spaces (icDPM Table 1).

    Patches have 240x256 pixels, divided by 2^k at scale k; the paper does not give their size.
    Features are stored in `output` and not computed again.

    Args:
      deblurrer: a guided model.
      sides: two folders of blurry pictures.
      output: folder for the features.
      weights: folder of metric weights.
      limit: number of pictures from each folder; 0: all.
      on_image: called after each picture.

    Raises:
      DataError: if a picture is smaller than a patch.
      UsageError: if the model lacks a scale, or its guidance is in colour.
    """
    chosen = [dict(list(results.find(s, results.BLURRY).items())[: limit or None]) for s in sides]
    for path in (path for files in chosen for path in files.values()):
        with open_image(path, path) as image:
            if image.width < PAPER_PATCH[1] or image.height < PAPER_PATCH[0]:
                raise DataError(f"{path}: smaller than a patch of 256x240 pixels")
    make = gin.get_configurable(inception_features)
    store = FeatureStore(output / f"features-{deblurrer.fingerprint()}")
    extractors = {
        (name, k): _renamed(
            make(weights, patch=tuple(n >> k for n in PAPER_PATCH)), f"{name}, x{2**k}"
        )
        for name, k in SPACES
    }
    kinds = [digest_of(files.items()) for files in chosen]
    for side, files in zip(kinds, chosen, strict=True):
        for name, path in files.items():
            wanted = [s for s, f in extractors.items() if not store.has(f, side, name)]
            if wanted:
                pictures = _in_spaces(deblurrer, read_rgb(path))
                for space in wanted:
                    store.add(extractors[space], side, name, pictures[space])
            on_image()
    rows = []
    for (name, k), features in extractors.items():
        sets = [store.rows(features, side, list(f)) for side, f in zip(kinds, chosen, strict=True)]
        fid, kid = distances.fid(*sets), 100 * distances.kid_full(*sets)
        rows.append({"name": name, "scale": 2**k, "FID": fid, "KID": kid})
    return rows


def _renamed(features: Features, name: str) -> Features:
    return Features(name.replace(" ", "_").replace(",", ""), features.of, features.about)


def _in_spaces(deblurrer: Any, blurry: np.ndarray) -> dict[tuple[str, int], np.ndarray]:
    pictures = guidance_pictures(deblurrer, blurry)
    gray = image_ops.rgb_to_gray(image_ops.to_model_range(blurry[None]))
    found = {("Input", 0): image_ops.to_uint8_array(gray)[0]}
    for k, scale in zip(deblurrer.model.guidance_scales, pictures, strict=True):
        found["Input downsampled", k] = scale["input"]
        found["Guidance output", k] = scale["prediction"]
    if missing := [s for s in SPACES if s not in found]:
        raise UsageError(f"the model has no guidance at scale {2 ** missing[0][1]}")
    if any(x.shape[-1] != 1 for x in found.values()):
        raise UsageError("the model's guidance is not gray, but Table 1 needs gray guidance")
    return {space: np.repeat(x, 3, axis=-1) for space, x in found.items()}


def _as_printed(row: Mapping[str, Any]) -> dict[str, Any]:
    aligned = {"psnr": "psnr_aligned", "ssim_matlab": "ssim_aligned"}
    return {**row, **{name: row[own] for name, own in aligned.items() if own in row}}


def mean_of_sets(reports: Sequence[Mapping[str, Any]], kind: str) -> dict[str, float]:
    """Unweighted means over the reports of several test sets (icDPM Table 3).

    Covers the metrics that all reports have; `kind` is the kind of picture, e.g. "sample".
    For a set that was also measured after alignment, PSNR and SSIM are the aligned ones.
    """
    rows = [_as_printed(report["means"][kind]) for report in reports]
    shared = [m for m in rows[0] if all(m in row for row in rows)]
    return {m: float(np.mean([float(row[m]) for row in rows])) for m in shared}
