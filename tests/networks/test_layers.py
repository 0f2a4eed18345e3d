"""Every layer keeps the Keras contract: sizes, configs, names, dtypes."""

import keras
import numpy as np
import pytest

from deblur_tf.networks import layers
from deblur_tf.networks.latent_unet import LatentUNet
from tests.support.helpers import randomize
from tests.support.latent_case import UNET
from tests.support.layer_cases import CASES, X


def first(output):
    """The first tensor of a possibly nested output."""
    while isinstance(output, tuple):
        output = output[0]
    return output


def made(case, **kwargs):
    make, shapes = CASES[case][:2]
    layer = make(**kwargs)
    layer.build(*shapes)
    return randomize(layer)


@pytest.mark.parametrize("case", CASES)
def test_shape_and_parameters(case):
    layer = made(case)
    arguments, shape, parameters = CASES[case][2:]
    assert first(layer(*arguments)).shape == shape
    if parameters is not None:
        assert layer.count_params() == parameters


@pytest.mark.parametrize("case", CASES)
def test_config_round_trip_gives_the_same_layer(case):
    layer = made(case)
    copy = type(layer).from_config(layer.get_config())
    copy.build(*CASES[case][1])
    assert [v.path for v in copy.variables] == [v.path for v in layer.variables]
    copy.set_weights(layer.get_weights())
    arguments = CASES[case][2]
    np.testing.assert_array_equal(first(copy(*arguments)), first(layer(*arguments)))


@pytest.mark.parametrize("case", CASES)
def test_names_do_not_depend_on_what_was_made_before(case):
    assert [v.path for v in made(case).variables] == [v.path for v in made(case).variables]


@pytest.mark.parametrize("case", CASES)
def test_mixed_bfloat16_keeps_float32_variables_and_close_results(case):
    full, mixed = made(case), made(case, dtype="mixed_bfloat16")
    assert all(v.dtype == "float32" for v in mixed.variables)
    arguments = CASES[case][2]
    a = np.array(first(full(*arguments)), "float32")
    b = np.array(keras.ops.cast(first(mixed(*arguments)), "float32"))
    assert np.abs(a - b).max() < 0.03 * np.abs(a).max() + 0.01


@pytest.mark.parametrize("case", CASES)
def test_serialization_is_registered(case):
    layer = made(case)
    config = keras.saving.serialize_keras_object(layer)
    assert config["registered_name"].startswith("deblur_tf>")
    assert type(keras.saving.deserialize_keras_object(config)) is type(layer)


def test_a_new_block_is_its_skip():
    block = layers.ResidualBlock(4, use_embedding=False)
    np.testing.assert_array_equal(block(X), X)


def test_residual_block_matches_a_numpy_twin():
    block = made("ResidualBlock/down")
    w = {v.path.split("/", 1)[1]: np.array(v.value) for v in block.variables}

    def swish(x):
        return x / (1 + np.exp(-x))

    def pool(x):
        return x.reshape(2, 4, 2, 4, 2, 4).mean((2, 4))

    def conv(x, name):
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        total = w[f"{name}/bias"]
        for i in range(3):
            for j in range(3):
                total = total + padded[:, i : i + 4, j : j + 4] @ w[f"{name}/kernel"][i, j]
        return total

    want = pool(X) + conv(swish(conv(pool(swish(X)), "conv_1")), "conv_2")
    np.testing.assert_allclose(block(X), want, atol=1e-5)


def test_guidance_enters_through_the_projection():
    block = made("GuidedResidualBlock")
    x, feature, embedding = CASES["GuidedResidualBlock"][2]
    with_guidance = np.array(block(x, feature, embedding))
    for variable in block.inject.project.variables:
        variable.assign(np.zeros(variable.shape, "float32"))
    plain = np.array(block(x, feature, embedding))
    assert np.abs(with_guidance - plain).max() > 1e-3
    np.testing.assert_allclose(plain, block(x, 0 * feature, embedding), atol=1e-6)


def test_embedding_tells_the_smallest_noise_levels_apart():
    layer = made("NoiseLevelEmbedding")
    a, b = np.array(layer(np.array([1 - 5e-7, 1 - 1e-4], "float32")))
    assert np.abs(a - b).max() > 1e-3


def test_a_head_that_does_not_divide_the_width_is_refused():
    for head_width in (128, 48):
        with pytest.raises(ValueError, match=f"head_width {head_width} does not divide the 64"):
            LatentUNet(**UNET | {"head_width": head_width})


def test_unknown_resampling_is_refused():
    with pytest.raises(ValueError, match="resample"):
        layers.ResidualBlock(4, "sideways")
