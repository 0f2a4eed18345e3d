"""DeblurDiff as a restorer: contracts, refinement, tiles, SavedModel."""

import keras
import numpy as np
import pytest

from deblur_tf.base.backend import eagerly
from deblur_tf.base.errors import UsageError
from deblur_tf.diffusion.sampling import SamplingSettings
from deblur_tf.diffusion.schedules import spaced_schedule
from deblur_tf.inference import memory
from deblur_tf.inference.deblurrer import Deblurrer
from deblur_tf.models import saved
from deblur_tf.models.deblurdiff import DeblurDiff
from deblur_tf.models.flops import count_flops
from deblur_tf.models.restoration import Restoration, sample_keys
from deblur_tf.models.tiles import TiledRestoration
from tests.support.helpers import images, slow_but
from tests.support.latent_models import MODELS, built
from tests.support.models import latent_model

SEVEN = SamplingSettings(steps=7)


@pytest.mark.parametrize("name", slow_but(MODELS, "kernels", "autoencoder"))
def test_restores_any_size_and_round_trips(name, tmp_path, eager_steps):
    model = built(MODELS[name])
    photo = np.random.default_rng(0).integers(0, 256, (19, 30, 3), dtype=np.uint8)
    samples = Deblurrer(model, sampling=SEVEN).samples(photo, steps=2, n_samples=2)
    assert samples.shape == (2, 19, 30, 3)
    if name != "autoencoder":
        assert np.abs(samples[0] - samples[1]).max() > 0
    saved.save_model(model, tmp_path, SEVEN, dtype="float32")
    loaded = saved.load_model(tmp_path)
    assert loaded.sampling == SEVEN
    again = Deblurrer(loaded.model, sampling=SEVEN).samples(photo, steps=2, n_samples=2)
    np.testing.assert_array_equal(samples, again)
    assert [v.trainable for v in loaded.model.variables] == [v.trainable for v in model.variables]


def test_the_schedule_is_its_own():
    deblurrer = Deblurrer(built(latent_model), sampling=SEVEN)
    photo = np.zeros((16, 16, 3), np.uint8)
    with pytest.raises(UsageError, match="it has no beta_max"):
        deblurrer.samples(photo, beta_max=0.5)
    with pytest.raises(UsageError, match="1 to 1000"):
        deblurrer.samples(photo, steps=1001)
    assert "7 of 1000 steps, ddpm" in SEVEN.describe(deblurrer.model.schedule_kind)


def test_every_spaced_level_is_its_timestep():
    model = latent_model()
    levels = spaced_schedule(1000).noise_levels[1:].astype("float32")
    np.testing.assert_array_equal(model.timestep(levels), np.arange(1000))


@pytest.mark.parametrize("kind", ["kernels", "once"])
def test_structure_is_refined_from_step_to_step(kind):
    model = built(lambda: latent_model(kind))
    condition = model.condition(images(0, 1, 16, 16, 3))
    found = []
    for seed, level in ((1, 0.3), (2, 0.3), (1, 0.9)):
        noisy = images(seed, 1, 8, 8, 4)
        found.append(np.array(model.estimates(noisy, np.array([level], "float32"), condition)[1]))
    changes = [np.abs(found[0] - x).max() > 1e-4 for x in found[1:]]
    assert changes == [kind == "kernels"] * 2


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "calls"), [("kernels", 5), ("once", 1)])
def test_the_predictor_runs_once_a_step_or_once_an_image(kind, calls, monkeypatch, eager_steps):
    model, seen = built(lambda: latent_model(kind)), []
    predictor = model.predictor if kind == "kernels" else model.predictor.predictor
    change = predictor.change
    object.__setattr__(predictor, "change", lambda *a: seen.append(1) or change(*a))
    Restoration(model)(images(0, 1, 16, 16, 3), sample_keys(0, [0]), spaced_schedule(5))
    assert len(seen) == calls


@pytest.mark.slow
def test_tiles_and_windows(eager_steps, monkeypatch):
    model = built(lambda: latent_model(window=4))
    blurry, keys = images(0, 1, 40, 56, 3), sample_keys(1, [0])
    whole = np.array(Restoration(model)(blurry, keys, spaced_schedule(2)))
    one = np.array(TiledRestoration(model, side=64, overlap=8)(blurry, keys, spaced_schedule(2)))
    np.testing.assert_allclose(one, whole, atol=1e-4)
    decoded = []
    decode = model.vae.decode
    monkeypatch.setattr(model.vae, "decode", lambda z: decoded.append(z.shape) or decode(z))
    parts = np.array(TiledRestoration(model, side=32, overlap=8)(blurry, keys, spaced_schedule(2)))
    assert decoded == [(1, 12, 16, 4)] * 4  # as large as a tile, never as the image
    assert parts.shape == whole.shape
    assert 0 < np.sqrt(np.mean((parts - whole) ** 2)) < 0.5 * whole.std()


def test_tiles_are_of_64_latents_and_attention_over_them_fits():
    """Scores of 4096 x 4096 pixels of the latent, float32, are 64 MiB, and three are alive."""
    model = built(latent_model)  # a latent is half as large as its image
    assert memory.choose_tile(model, 2000, 2000, free=1 << 40) == 128
    assert memory.choose_tile(model, 140, 140, free=1 << 40) == 0
    for other in (model, built(MODELS["autoencoder"])):
        assert other.largest_tile == 128
        assert memory.bytes_per_pixel(other) * 128**2 > 3 * 64 * 2**20


@pytest.mark.slow
def test_operations_of_attention_and_kernels_are_counted():
    models = [MODELS[kind]() for kind in ("kernels", "direct")]
    for model in models:
        model.build()
    found = count_flops(models[0], 16, 16) - count_flops(models[1], 16, 16)
    # 96 more channels of a 3x3 convolution of 8, and 25 products for each of 4 channels.
    assert found == 64 * (2 * 9 * 8 * 96 + 2 * 25 * 4)


@pytest.mark.slow
def test_the_saved_model_gives_the_same(tmp_path):
    import tensorflow as tf

    from deblur_tf.serving.export import export

    deblurrer = Deblurrer(built(latent_model), sampling=SamplingSettings(3))
    photo = np.random.default_rng(0).integers(0, 256, (21, 30, 3), dtype=np.uint8)
    export(deblurrer.model, tmp_path / "saved", deblurrer.sampling)
    signature = tf.saved_model.load(str(tmp_path / "saved" / "1")).signatures["serving_default"]
    found = signature(image=tf.constant(photo[None]))["restored"].numpy()[0]
    with eagerly():
        want = deblurrer.restore(photo, seed=0)
    assert np.abs(found.astype(int) - want.astype(int)).max() <= 1


def test_one_step_of_latents_is_no_onnx_file(tmp_path):
    from deblur_tf.serving.onnx import export_step

    with pytest.raises(UsageError, match="this model denoises a latent"):
        export_step(latent_model(), tmp_path)


def test_settings_that_do_not_exist():
    with pytest.raises(ValueError, match="colour must be wavelet or adain, or None, got 'sepia'"):
        latent_model(colour="sepia")
    model = built(lambda: latent_model(colour="adain", encoded_range=(0.0, 1.0)))
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model))
    assert isinstance(copy, DeblurDiff)
    assert copy.encoded_range == (0.0, 1.0)
    assert copy.colour == "adain"
