"""Ways in which a guidance feature enters a feature map (icDPM Table 10).

Each is a layer `inject(features, guidance)` that keeps the shape of `features`.
The paper chose addition: it costs least, and the guidance cannot be ignored.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from deblur_tf.base.registry import configurable
from deblur_tf.base.types import Shape, Tensor
from deblur_tf.networks.initializers import GlorotUniform
from deblur_tf.networks.normalization import GroupNorm


def conv(filters: int, kernel_size: int, name: str, **kwargs: Any) -> keras.layers.Conv2D:
    """A convolution that keeps height and width."""
    kwargs.setdefault("kernel_initializer", GlorotUniform())
    return keras.layers.Conv2D(filters, kernel_size, padding="same", name=name, **kwargs)


class _Injection(keras.layers.Layer):
    """Shared construction: `filters` is the width of the feature map."""

    def __init__(self, filters: int, name: str = "inject", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.filters = filters


@configurable
class Add(_Injection):
    """features + conv1x1(guidance), "as an extra bias" (icDPM sec. 3.2)."""

    def __init__(self, filters: int, **kwargs: Any):
        super().__init__(filters, **kwargs)
        self.project = conv(filters, 1, "project", dtype=self.dtype_policy)

    def build(self, features_shape: Shape, guidance_shape: Shape) -> None:
        del features_shape
        self.project.build(guidance_shape)

    def call(self, features: Tensor, guidance: Tensor) -> Tensor:
        """[B, H, W, C], [B, H, W, G] -> [B, H, W, C]."""
        return features + self.project(guidance)


@configurable
class Concatenate(_Injection):
    """conv1x1([features, guidance]): the network may learn to ignore the guidance."""

    def __init__(self, filters: int, **kwargs: Any):
        super().__init__(filters, **kwargs)
        self.merge = conv(filters, 1, "merge", dtype=self.dtype_policy)

    def build(self, features_shape: Shape, guidance_shape: Shape) -> None:
        self.merge.build((*features_shape[:-1], features_shape[-1] + guidance_shape[-1]))

    def call(self, features: Tensor, guidance: Tensor) -> Tensor:
        """[B, H, W, C], [B, H, W, G] -> [B, H, W, C]."""
        guidance = ops.cast(guidance, features.dtype)
        return self.merge(ops.concatenate([features, guidance], axis=-1))


@configurable
class AdaptiveGroupNorm(_Injection):
    """norm(features) * (1 + scale) + shift, both conv1x1(guidance), per pixel.

    The normalisation has no weights of its own and at most 8 groups, whose
    number divides `filters`; the paper does not give its number of groups.
    """

    def __init__(self, filters: int, **kwargs: Any):
        super().__init__(filters, **kwargs)
        self.norm = GroupNorm(math.gcd(8, filters), 1e-3, center=False, scale=False)
        # From zero: the block starts as one with plain group normalisation.
        self.modulate = conv(
            2 * filters, 1, "modulate", kernel_initializer="zeros", dtype=self.dtype_policy
        )

    def build(self, features_shape: Shape, guidance_shape: Shape) -> None:
        self.norm.build(features_shape)
        self.modulate.build(guidance_shape)

    def call(self, features: Tensor, guidance: Tensor) -> Tensor:
        """[B, H, W, C], [B, H, W, G] -> [B, H, W, C]."""
        scale, shift = ops.split(self.modulate(guidance), 2, axis=-1)
        return ops.cast(self.norm(features), scale.dtype) * (1.0 + scale) + shift


INJECTIONS: dict[str, type[_Injection]] = {
    "add": Add,
    "concat": Concatenate,
    "adagn": AdaptiveGroupNorm,
}


def make(name: str, filters: int, dtype: Any) -> _Injection:
    """The injection called `name`, for a feature map `filters` wide.

    Raises:
      ValueError: if there is none of that name.
    """
    if name not in INJECTIONS:
        raise ValueError(f"no injection {name!r}; one of {', '.join(INJECTIONS)}")
    return INJECTIONS[name](filters, dtype=dtype)
