"""Group normalisation against its definition in float64, and against Keras' layer."""

import keras
import numpy as np
import pytest

from deblur_tf.networks.normalization import GroupNorm
from tests.support.helpers import images, randomize


def defined(x, groups, epsilon):
    grouped = x.astype("float64").reshape(x.shape[0], -1, groups, x.shape[-1] // groups)
    mean, variance = (f(grouped, axis=(1, 3), keepdims=True) for f in (np.mean, np.var))
    return ((grouped - mean) / np.sqrt(variance + epsilon)).reshape(x.shape)


@pytest.mark.parametrize(("shape", "groups"), [((2, 5, 7, 12), 4), ((3, 4, 4, 6), 1)])
def test_is_keras_layer(shape, groups):
    x = images(0, *shape)
    layers = [make(groups, epsilon=1e-3) for make in (GroupNorm, keras.layers.GroupNormalization)]
    for layer in layers:
        layer.build((None, *shape[1:]))
        randomize(layer)
    ours, theirs = (np.array(layer(x)) for layer in layers)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    plain = GroupNorm(groups, 1e-3, center=False, scale=False)
    plain.build((None, *shape[1:]))
    assert not plain.variables
    np.testing.assert_allclose(plain(x), defined(x, groups, 1e-3), atol=1e-5)
    assert np.array(plain(x.astype("float16"))).dtype == np.float32


def test_large_maps_far_from_zero_lose_no_digits():
    x = 3.0 * np.random.default_rng(0).standard_normal((1, 512, 512, 8)).astype("float32") + 5.0
    error = np.abs(np.array(GroupNorm(4)(x)) - defined(x, 4, 1e-5)).max()
    assert error < 1e-4  # Keras' layer: 5e-4
