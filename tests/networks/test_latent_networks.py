"""Stable Diffusion's networks, DeblurDiff's kernels and control branch, against others."""

import gzip
import json

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from deblur_tf.base.backend import shapes_only
from deblur_tf.base.errors import UsageError
from deblur_tf.conversion import keys
from deblur_tf.conversion.text import empty_context
from deblur_tf.diffusion.schedules import spaced_schedule, stable_diffusion_levels
from deblur_tf.models import color_transfer
from deblur_tf.networks import kernels, windows
from deblur_tf.networks.control import ControlBranch
from deblur_tf.networks.kernels import LatentKernelPredictor, LatentPredictor
from deblur_tf.networks.latent_layers import SpatialTransformer
from deblur_tf.networks.latent_unet import LatentUNet
from deblur_tf.networks.vae import AutoencoderKL
from deblur_tf.serving.export import schedule_in_graph
from tests.support import DATA
from tests.support.helpers import images, randomize
from tests.support.latent_case import (
    TOWER,
    UNET,
    VAE,
    adaptive_case,
    array,
    fill,
    keys_of,
    tower_shapes,
)

LITERALS = dict(np.load(DATA / "latent_literals.npz"))
KEYS = json.loads(gzip.decompress((DATA / "latent_keys.json.gz").read_bytes()))


def built(network, channels=4):
    network.build((None, None, None, channels))
    return network


def close(found, name):
    want = LITERALS[name]
    assert found.shape == want.shape
    np.testing.assert_allclose(found, want, atol=4e-6 * np.abs(want).max(), err_msg=name)


def test_the_autoencoder_is_that_of_diffusers():
    vae = fill(built(AutoencoderKL(**VAE), 3))
    image = np.random.default_rng(1).uniform(-1, 1, (2, 24, 40, 3)).astype("float32")
    mean, log_variance = vae.moments(image)
    close(mean, "vae_mean")
    close(log_variance, "vae_logvar")
    close(vae.decode(vae.encode(image)), "vae_image")
    np.testing.assert_allclose(vae.encode(image), 0.18215 * np.array(mean), rtol=1e-6)


def unet_case():
    rng = np.random.default_rng(2)
    x, context = rng.standard_normal((2, 8, 12, 4)), rng.standard_normal((2, 77, 24))
    middle = rng.standard_normal((2, 64, 4, 6))
    downs = [(32, 8, 12), (32, 8, 12), (32, 4, 6), (64, 4, 6)]
    downs = [rng.standard_normal((2, *shape)) for shape in downs]
    control = [a.transpose(0, 2, 3, 1).astype("float32") for a in (*downs, middle)]
    return (x.astype("float32"), np.array([17.0, 900.0]), context.astype("float32")), control


def test_the_unet_is_that_of_diffusers_and_takes_control_as_it_does():
    unet = fill(built(LatentUNet(**UNET)))
    arguments, control = unet_case()
    close(unet(*arguments), "unet")
    close(unet(*arguments, control), "unet_controlled")


def full(network, channels):
    """Variables of a full-size network, which take no memory within."""
    network.build((None, None, None, channels))
    return network


def test_full_sizes_and_names_are_those_of_others():
    with shapes_only():
        unet, vae = full(LatentUNet(name="unet"), 4), full(AutoencoderKL(), 3)
        control = full(ControlBranch(), 12)
        predictor = LatentKernelPredictor(LatentUNet(out_channels=100, base_channels=128))
        predictor = full(predictor, 4)
    assert unet.count_params() == 865_910_724
    assert vae.count_params() == 83_653_863
    assert control.count_params() == 363_164_800
    assert predictor.count_params() == 144_907_236

    for network in (unet, vae):
        want = {k: tuple(s) for k, s in KEYS[network.name].items()}
        assert keys_of(network) == want

    # DeblurDiff's released layout, below its prefixes; the text tower is read elsewhere.
    found = {}
    for prefix, network, rename in (
        ("unet.", unet, keys.compvis_unet_key),
        ("vae.", vae, keys.compvis_vae_key),
        ("controlnet.", control, keys.compvis_unet_key),
        ("kpn.unet.", predictor.unet, keys.compvis_unet_key),
    ):
        for key, shape in keys_of(network).items():
            found[prefix + rename(key, network)] = shape
    want = {k: tuple(s) for k, s in KEYS["deblurdiff"].items() if not k.startswith("clip.")}
    # Attention of the autoencoder is 1x1 convolutions there.
    want = {k: s[:2] if "attn_1" in k and len(s) == 4 else s for k, s in want.items()}
    assert found == want


def loops(x, kernel, size):
    """The definition, pixel by pixel."""
    radius = size // 2
    batch, height, width, channels = x.shape
    result = np.zeros_like(x)
    for b, p, q, c in np.ndindex(batch, height, width, channels):
        for i, j in np.ndindex(size, size):
            row, column = p + i - radius, q + j - radius
            if 0 <= row < height and 0 <= column < width:
                weight = kernel[b, p, q, c * size * size + i * size + j]
                result[b, p, q, c] += weight * x[b, row, column, c]
    return result


@pytest.mark.parametrize(
    ("size", "shape"), [(5, (2, 6, 9, 4)), (3, (1, 1, 2, 2)), (1, (1, 3, 3, 1))]
)
def test_element_wise_adaptive_convolution_is_its_definition(size, shape):
    x, kernel = images(0, *shape), images(1, *shape[:3], shape[3] * size * size)
    found = kernels.element_wise_adaptive_convolution(x, kernel, size)
    np.testing.assert_allclose(found, loops(x, kernel, size), atol=2e-6)
    with tf.GradientTape() as tape:
        a, b = tf.Variable(x), tf.Variable(kernel)
        total = tf.reduce_sum(kernels.element_wise_adaptive_convolution(a, b, size) ** 2)
    assert all(np.abs(g).max() > 0 for g in tape.gradient(total, [a, b]))


def test_element_wise_adaptive_convolution_is_that_of_pytorch():
    x, kernel = (a.astype("float32") for a in adaptive_case())
    close(kernels.element_wise_adaptive_convolution(x, kernel, 5), "adaptive")


@pytest.mark.parametrize("kind", [LatentKernelPredictor, LatentPredictor])
def test_an_untrained_predictor_returns_the_blurry_latent(kind):
    channels = 100 if kind is LatentKernelPredictor else 4
    predictor = built(kind(LatentUNet(out_channels=channels, **UNET)))
    latent, noisy = images(0, 2, 8, 8, 4), images(1, 2, 8, 8, 4)
    times, context = np.array([3.0, 500.0], "float32"), images(2, 1, 77, 24)
    np.testing.assert_array_equal(predictor(latent, noisy, times, context), latent)
    randomize(predictor)
    assert np.abs(np.array(predictor(latent, noisy, times, context)) - latent).max() > 1e-3


def test_a_predictor_of_the_wrong_width_is_refused():
    with pytest.raises(ValueError, match="out_channels = 100, got 4"):
        built(LatentKernelPredictor(LatentUNet(out_channels=4, **UNET)))


def test_control_that_has_learned_nothing_changes_no_bit():
    unet, control = built(LatentUNet(**UNET)), built(ControlBranch(**UNET), 12)
    randomize(unet)
    control.start_from(unet)
    theirs = {v.path.split("/", 1)[1]: np.array(v.value) for v in unet.variables}
    for variable in control.variables:
        name, value = variable.path.split("/", 1)[1], np.array(variable.value)
        if name == "conv_in/kernel":
            np.testing.assert_array_equal(value[:, :, :4], theirs[name])
            assert not value[:, :, 4:].any()
        elif name.startswith("controlnet_"):
            assert not value.any()
        else:
            np.testing.assert_array_equal(value, theirs[name], err_msg=name)
    (x, times, context), _ = unet_case()
    more = control(np.concatenate([x, x, x], -1), times, context)
    np.testing.assert_array_equal(unet(x, times, context, more), unet(x, times, context))


@given(st.integers(1, 200), st.integers(1, 70))
@settings(deadline=None)
def test_windows_cover_an_axis_and_average_back(size, side):
    found = windows.places(size, side)
    assert found.shape[1] == min(size, side)
    assert found[0, 0] == 0
    assert found[-1, -1] == size - 1
    assert set(found.ravel()) == set(range(size))
    assert len(found) == (size - 1) // min(size, side) + 1
    np.testing.assert_array_equal(found, windows.places(tf.constant(size), side))


def test_cutting_and_averaging_changes_nothing():
    x = images(0, 2, 13, 9, 3)
    rows, columns = windows.places(13, 5), windows.places(9, 4)
    parts = windows.cut(x, rows, columns)
    assert parts.shape == (2 * 3 * 3, 5, 4, 3)
    np.testing.assert_array_equal(parts[1], x[0, :5, 3:7])
    np.testing.assert_allclose(windows.average(parts, rows, columns, 13, 9), x, atol=1e-6)


def test_windowed_attention_is_attention_in_each_window():
    context = images(1, 2, 5, 24)
    whole, confined = (SpatialTransformer(2, 8, window=w) for w in (None, 6))
    for layer in (whole, confined):
        layer.build((None, None, None, 16), (None, 5, 24))
        randomize(layer)
    small = images(0, 2, 6, 4, 16)
    np.testing.assert_allclose(confined(small, context), whole(small, context), atol=1e-5)

    x = images(0, 2, 8, 6, 16)
    found = [np.array(whole(x[:, top : top + 6], context)) for top in (0, 2)]
    want = np.zeros((2, 8, 6, 16))
    want[:, :2], want[:, 2:6], want[:, 6:] = (
        *(found[0][:, :2], (found[0][:, 2:] + found[1][:, :4]) / 2, found[1][:, 4:]),
    )
    np.testing.assert_allclose(confined(x, context), want, atol=1e-5)


def test_the_schedule_is_that_of_diffusers_spaced():
    np.testing.assert_allclose(stable_diffusion_levels(), LITERALS["levels"], atol=1e-6)
    spaced = spaced_schedule(50)
    kept = np.round(999 * np.arange(50) / 49).astype(int)
    np.testing.assert_allclose(spaced.noise_levels[1:], stable_diffusion_levels()[kept], rtol=1e-12)
    assert spaced_schedule(1).noise_levels[-1] == pytest.approx(stable_diffusion_levels()[-1])
    assert spaced_schedule(1000).steps == 1000
    for steps in (0, 1001):
        with pytest.raises(UsageError, match="steps must be 1 to 1000"):
            spaced_schedule(steps)
    in_graph = tf.function(lambda n: schedule_in_graph(n, kind="stable_diffusion").betas)
    for steps in (1, 2, 50):
        found = in_graph(tf.constant(steps))
        np.testing.assert_allclose(found, spaced_schedule(steps).betas, rtol=1e-12)


@pytest.mark.parametrize("openclip", [True, False])
def test_the_context_is_that_of_the_text_tower(openclip):
    """`transformers` made the literal; OpenCLIP keeps the three projections as one array."""
    shapes = tower_shapes(openclip, **TOWER)
    theirs = tower_shapes(False, **TOWER)
    arrays = {k: array(k, s) for k, s in theirs.items()}
    if openclip:
        order = dict(zip(_by_role(theirs), _by_role(shapes), strict=True))
        arrays = {order[k]: v for k, v in arrays.items() if k in order} | {
            f"transformer.resblocks.{n}.attn.in_proj_{w}": np.concatenate(
                [arrays[f"encoder.layers.{n}.self_attn.{c}_proj.{w}"] for c in "qkv"]
            )
            for n in range(TOWER["layers"])
            for w in ("weight", "bias")
        }
        assert arrays.keys() == shapes.keys()
    found = empty_context(arrays.__getitem__, TOWER["layers"], openclip, TOWER["heads"])
    close(found, "context")


def _by_role(shapes):
    """Keys but for the projections, in an order that both layouts share."""
    return [k for k in shapes if "in_proj" not in k and not any(f".{c}_proj" in k for c in "qkv")]


def test_colour_fixes():
    image, reference = images(0, 2, 33, 40, 3), 0.3 * images(1, 2, 33, 40, 3) + 0.2
    found = np.array(color_transfer.adain(image, reference))
    for name in ("mean", "std"):
        a, b = (getattr(x, name)(axis=(1, 2)) for x in (found, reference))
        np.testing.assert_allclose(a, b, atol=1e-4)
    np.testing.assert_allclose(color_transfer.wavelet(image, image), image, atol=1e-6)
    # What is as coarse as a constant comes from the reference, detail from the image.
    np.testing.assert_allclose(color_transfer.wavelet(image + 0.4, image), image, atol=1e-5)
    coarse = reference.astype(np.float64)
    for step in (1, 2, 4, 8, 16):
        for axis in (1, 2):
            margins = [(step, step) if i == axis else (0, 0) for i in range(4)]
            padded, size = np.pad(coarse, margins, "edge"), coarse.shape[axis]
            taps = [np.take(padded, k * step + np.arange(size), axis) for k in (0, 1, 2)]
            coarse = (taps[0] + 2 * taps[1] + taps[2]) / 4
    zero = np.zeros_like(reference)
    np.testing.assert_allclose(color_transfer.wavelet(zero, reference), coarse, atol=1e-5)
