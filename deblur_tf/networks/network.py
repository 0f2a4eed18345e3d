"""Base class of networks: properties that their callers need."""

from __future__ import annotations

import keras


class Network(keras.layers.Layer):
    """Base of the networks that a restorer is made of.

    Attributes:
      has_fourier_transforms: whether it computes Fourier transforms in two dimensions, which
        converters to other formats do not support.
    """

    has_fourier_transforms: bool = False

    @property
    def floats_per_pixel(self) -> float:
        """About how many float32 values are in memory at once, per pixel of the input."""
        raise NotImplementedError
