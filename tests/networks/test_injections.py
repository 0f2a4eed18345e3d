"""Each way in which guidance enters, against its NumPy twin (Table 10)."""

import numpy as np
import pytest

from deblur_tf.networks import injections
from tests.support.helpers import images, randomize

FEATURES, GUIDANCE = images(0, 2, 6, 8, 4), images(1, 2, 6, 8, 3)


def made(name, filters=4):
    layer = injections.make(name, filters, "float32")
    layer.build((None, None, None, filters), (None, None, None, 3))
    return randomize(layer)


def conv1x1(layer, x):
    kernel, bias = (np.array(v.value) for v in layer.variables)
    return x @ kernel[0, 0] + bias


def test_addition():
    layer = made("add")
    want = FEATURES + conv1x1(layer.project, GUIDANCE)
    np.testing.assert_allclose(layer(FEATURES, GUIDANCE), want, atol=1e-5)


def test_concatenation():
    layer = made("concat")
    want = conv1x1(layer.merge, np.concatenate([FEATURES, GUIDANCE], -1))
    np.testing.assert_allclose(layer(FEATURES, GUIDANCE), want, atol=1e-5)


@pytest.mark.parametrize(("filters", "groups"), [(4, 4), (24, 8)])
def test_adaptive_group_normalisation(filters, groups):
    features = images(2, 2, 6, 8, filters)
    layer = made("adagn", filters)
    scale, shift = np.split(conv1x1(layer.modulate, GUIDANCE), 2, axis=-1)
    grouped = features.reshape(2, 6, 8, groups, filters // groups)
    mean = grouped.mean((1, 2, 4), keepdims=True)
    variance = grouped.var((1, 2, 4), keepdims=True)
    normal = ((grouped - mean) / np.sqrt(variance + 1e-3)).reshape(features.shape)
    want = normal * (1 + scale) + shift
    np.testing.assert_allclose(layer(features, GUIDANCE), want, atol=1e-4)


@pytest.mark.parametrize("name", injections.INJECTIONS)
def test_guidance_matters_and_shape_stays(name):
    layer = made(name)
    a, b = (np.array(layer(FEATURES, g)) for g in (GUIDANCE, 2 * GUIDANCE))
    assert a.shape == FEATURES.shape
    assert np.abs(a - b).max() > 1e-3
