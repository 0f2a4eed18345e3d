import keras
import numpy as np
import pytest

from deblur_tf.diffusion.schedules import inference_schedule
from deblur_tf.models.icdpm import Guided, GuidedDiffusion
from deblur_tf.models.restoration import Restoration, sample_keys
from deblur_tf.networks.guidance import MultiscaleGuidance, structure
from deblur_tf.networks.unet import UNet
from deblur_tf.numerics import image_ops
from tests.support.helpers import images, randomize
from tests.support.models import small_model


def inputs(height=16, width=24, batch=2):
    levels = np.linspace(0.2, 0.9, batch).astype("float32")
    return images(1, batch, height, width, 3), levels, images(2, batch, height, width, 3)


def guidance_noise(height, width, batch=2):
    return tuple(images(k, batch, height // 2**k, width // 2**k, 1) for k in (1, 2, 3))


@pytest.fixture(scope="module")
def restoration(model):
    """Compiled once for all sizes."""
    return Restoration(model)


@pytest.mark.parametrize("size", [(16, 24), (13, 9), (1, 1), (8, 33), (3, 50)])
def test_any_size(restoration, size):
    restored = restoration(inputs(*size)[2], sample_keys(0, [0, 1]), inference_schedule(1))
    assert restored.shape == (2, *size, 3)
    prepared = restoration.prepare(inputs(*size)[2], sample_keys(0, [0, 1]))
    padded = [-(-n // 8) * 8 for n in size]
    shapes = [tuple(g.shape) for g in prepared.condition.guidance.predictions]
    assert shapes == [(2, padded[0] // 2**k, padded[1] // 2**k, 1) for k in (1, 2, 3)]


def test_odd_sizes_equal_padding_by_hand(restoration):
    blurry, keys, schedule = inputs(13, 9)[2], sample_keys(0, [0, 1]), inference_schedule(2)
    whole = restoration(image_ops.pad_to_multiple(blurry, 8), keys, schedule)
    restored = restoration(blurry, keys, schedule)
    np.testing.assert_allclose(restored, whole[:, :13, :9], atol=1e-5)


def test_call_is_condition_then_denoise(model):
    noisy, level, blurry = inputs()
    noise = guidance_noise(16, 24)
    output = model(noisy, level, blurry, noise)
    condition = model.condition(blurry, noise)
    np.testing.assert_array_equal(output["noise"], model.denoise(noisy, level, condition).noise)
    for a, b in zip(output["gray"], condition.guidance.predictions, strict=True):
        np.testing.assert_array_equal(a, b)


def test_every_input_and_every_scale_matters(model):
    noisy, level, blurry = inputs()
    base = np.array(model(noisy, level, blurry)["noise"])
    for changed in (
        (noisy + 0.1, level, blurry),
        (noisy, level * 0.5, blurry),
        (noisy, level, blurry * 0.5),
    ):
        assert np.abs(np.array(model(*changed)["noise"]) - base).max() > 1e-4
    guidance = model.condition(blurry).guidance
    for k in range(3):
        features = list(guidance.features)
        features[k] = features[k] + 1.0
        changed = Guided(blurry, guidance._replace(features=tuple(features)))
        moved = model.denoise(noisy, level, changed).noise
        assert np.abs(np.array(moved) - base).max() > 1e-5


def test_results_do_not_depend_on_the_batch(model):
    noisy, level, blurry = inputs(batch=3)
    together = np.array(model(noisy, level, blurry)["noise"])
    for i in range(3):
        one = slice(i, i + 1)
        alone = np.array(model(noisy[one], level[one], blurry[one])["noise"])
        np.testing.assert_allclose(together[one], alone, atol=1e-5)


def test_transform_is_gray_area_mean_plus_scaled_noise():
    guidance = MultiscaleGuidance(2, noise_stddev=0.05)
    blurry, noise = images(0, 1, 16, 16, 3), images(1, 1, 4, 4, 1)
    gray = blurry @ np.array([[0.299], [0.587], [0.114]], "float32")
    mean = gray.reshape(1, 4, 4, 4, 4, 1).mean((2, 4))
    np.testing.assert_allclose(structure(blurry, 2), mean, atol=1e-6)
    np.testing.assert_allclose(
        guidance.transforms[1](blurry, noise), mean + 0.05 * noise, atol=1e-6
    )


def test_unguided_model_has_no_predictions():
    built = randomize(small_model(guided=False))
    noisy, level, blurry = inputs()
    output = built(noisy, level, blurry)
    assert output["gray"] == ()
    assert output["noise"].shape == noisy.shape


def test_config_and_file_round_trip(model, tmp_path):
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(copy, GuidedDiffusion)
    assert [v.path for v in copy.variables] == [v.path for v in model.variables]
    arguments = inputs()
    np.testing.assert_array_equal(copy(*arguments)["noise"], model(*arguments)["noise"])


def test_unet_saves_alone(tmp_path):
    unet = UNet(4, num_res_blocks=1, num_middle_blocks=1, use_noise_level=False)
    x = images(0, 1, 8, 8, 3)
    unet(x)
    randomize(unet)
    unet.save(tmp_path / "unet.keras")
    copy = keras.saving.load_model(tmp_path / "unet.keras")
    np.testing.assert_array_equal(copy(x), unet(x))


def test_mixed_precision_outputs_float32():
    mixed = small_model(dtype="mixed_bfloat16")
    mixed.build()
    full = small_model()
    full.build()
    randomize(full), randomize(mixed)
    arguments = inputs()
    output = mixed(*arguments)
    assert output["noise"].dtype == "float32"
    assert all(g.dtype == "float32" for g in output["gray"])
    assert all(v.dtype == "float32" for v in mixed.variables)
    reference = np.array(full(*arguments)["noise"])
    error = np.abs(np.array(output["noise"]) - reference)
    assert 0 < error.max() < 0.05 * np.abs(reference).max()


def test_wrong_wiring_is_refused():
    with pytest.raises(ValueError, match=r"guided_depths \(1, 2, 3\) take scales .* for none"):
        GuidedDiffusion(UNet(4, guided_depths=(1, 2, 3)))
    with pytest.raises(ValueError, match=r"guided_depths \(3,\) take .* for \(1, 2\)"):
        GuidedDiffusion(UNet(4, guided_depths=(3,)), MultiscaleGuidance(4, scales=(1, 2)))
    with pytest.raises(ValueError, match="not all depths"):
        UNet(4, guided_depths=(4,))
    with pytest.raises(ValueError, match="no injection 'multiply'; one of add, concat, adagn"):
        UNet(4, guided_depths=(1,), injection="multiply")
    with pytest.raises(ValueError, match="target must be one of"):
        MultiscaleGuidance(4, target="yuv")
    with pytest.raises(ValueError, match="scales must be increasing"):
        MultiscaleGuidance(4, scales=(3, 1))
    with pytest.raises(ValueError, match="output must be a form of"):
        GuidedDiffusion(UNet(4), output="picture")
    with pytest.raises(ValueError, match="patch must be a power of 2, got 3"):
        UNet(4, patch=3)
    with pytest.raises(ValueError, match="needs 3 guidance features, got 0"):
        UNet(4, guided_depths=(1, 2, 3)).build((None, None, None, 6))
