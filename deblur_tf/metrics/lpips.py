"""LPIPS (Zhang et al., 2018), version 0.1, in `keras.ops`; lower is better.

Features of the five blocks of a classifier are normalised at each pixel; their squared
differences, weighted by a linear head of each block, are averaged over the picture.
"""

from __future__ import annotations

import functools
import os
from typing import Literal

import numpy as np
from keras import ops

from deblur_tf.base.registry import configurable
from deblur_tf.base.types import Tensor
from deblur_tf.metrics.base import PerImage, check
from deblur_tf.metrics.weights import WeightFile, check_arrays, find, sha256
from deblur_tf.storage.arrays import Arrays, read_npz

Net = Literal["alex", "vgg"]

# For each block: the max pooling before it as (window, stride), or None, and its convolutions
# as (channels, kernel, stride, padding). As in torchvision.
BLOCKS = {
    "alex": (
        (None, ((64, 11, 4, 2),)),
        ((3, 2), ((192, 5, 1, 2),)),
        ((3, 2), ((384, 3, 1, 1),)),
        (None, ((256, 3, 1, 1),)),
        (None, ((256, 3, 1, 1),)),
    ),
    "vgg": (
        (None, ((64, 3, 1, 1),) * 2),
        ((2, 2), ((128, 3, 1, 1),) * 2),
        ((2, 2), ((256, 3, 1, 1),) * 3),
        ((2, 2), ((512, 3, 1, 1),) * 3),
        ((2, 2), ((512, 3, 1, 1),) * 3),
    ),
}
# Smallest sides at which every pooling leaves at least one pixel.
MIN_SIDE = {"alex": 31, "vgg": 16}
LABELS = {"alex": "LPIPS (Alex)", "vgg": "LPIPS (VGG)"}
TRUNKS = {"alex": "alexnet-owt-7be5be79", "vgg": "vgg16-397923af"}
FILES = {
    net: WeightFile(
        f"lpips_{net}_v0.1.npz",
        f"torchvision's {trunk}.pth (the digits begin its SHA-256) and v0.1/{net}.pth of lpips",
        f"deblur-weights convert lpips --net={net} --trunk={trunk}.safetensors "
        f"--heads={net}.safetensors",
    )
    for net, trunk in TRUNKS.items()
}
_SHIFT = np.array([-0.030, -0.088, -0.188], "float32")
_SCALE = np.array([0.458, 0.448, 0.450], "float32")


def shapes(net: Net) -> dict[str, tuple[int, ...]]:
    """Shapes of all arrays: "<block>/<conv>/kernel", ".../bias", "<block>/head"."""
    found: dict[str, tuple[int, ...]] = {}
    last = 3
    for i, (_, convs) in enumerate(BLOCKS[net]):
        for j, (channels, kernel, _, _) in enumerate(convs):
            found[f"{i}/{j}/kernel"] = (kernel, kernel, last, channels)
            found[f"{i}/{j}/bias"] = (channels,)
            last = channels
        found[f"{i}/head"] = (last,)
    return found


def block_features(image: Tensor, arrays: Arrays, net: Net) -> list[Tensor]:
    """The trunk's features after each block: [B, H, W, 3] in [-1, 1] -> five tensors."""
    x = (image - _SHIFT) / _SCALE
    found = []
    for i, (pooling, convs) in enumerate(BLOCKS[net]):
        if pooling:
            x = ops.max_pool(x, *pooling, padding="valid")
        for j, (_, _, stride, pad) in enumerate(convs):
            x = ops.pad(x, [(0, 0), (pad, pad), (pad, pad), (0, 0)])
            x = ops.conv(x, arrays[f"{i}/{j}/kernel"], strides=stride, padding="valid")
            x = ops.relu(x + arrays[f"{i}/{j}/bias"])
        found.append(x)
    return found


def lpips_distance(a: Tensor, b: Tensor, arrays: Arrays, net: Net) -> Tensor:
    """Eq. 1 of Zhang et al.: [B, H, W, 3] in [-1, 1] each -> [B]."""
    total = 0.0
    pairs = zip(block_features(a, arrays, net), block_features(b, arrays, net), strict=True)
    for i, features in enumerate(pairs):
        unit = [x / (ops.sqrt(ops.sum(x * x, -1, keepdims=True)) + 1e-10) for x in features]
        weighted = ops.square(unit[0] - unit[1]) * arrays[f"{i}/head"]
        total += ops.mean(ops.sum(weighted, axis=-1), axis=(1, 2))
    return total


def _measure(image: np.ndarray, sharp: np.ndarray, arrays: Arrays, net: Net) -> float:
    check(image, sharp)
    a, b = (x[None].astype(np.float32) / 127.5 - 1.0 for x in (image, sharp))
    return float(ops.convert_to_numpy(lpips_distance(a, b, arrays, net))[0])


@configurable
def lpips(net: Net = "alex", weights: str | os.PathLike[str] | None = None) -> PerImage:
    """LPIPS of whole pictures as a metric.

    Args:
      net: the trunk network; the papers use AlexNet.
      weights: folder of metric weights.

    Raises:
      UnavailableError: if the weights are missing.
      CheckpointError: if the file's arrays have unexpected names or shapes.
    """
    path = find(FILES[net], weights)
    arrays = check_arrays(read_npz(path), shapes(net), path)
    return PerImage(
        f"lpips_{net}",
        LABELS[net],
        4,
        functools.partial(_measure, arrays=arrays, net=net),
        min_side=MIN_SIDE[net],
        about={"file": path.name, "sha256": sha256(path)},
    )
