"""Training of DeblurDiff and the stages before it: losses, gradients, memory, what is frozen."""

from functools import partial

import numpy as np
import pytest

from deblur_tf.base.errors import CheckpointError, ModelError, UsageError
from deblur_tf.data.pairs import PairGenerator
from deblur_tf.diffusion.outputs import Velocity
from deblur_tf.diffusion.sampling import SamplingSettings
from deblur_tf.diffusion.schedules import stable_diffusion_levels
from deblur_tf.metrics.psnr import psnr
from deblur_tf.models import saved
from deblur_tf.models.deblurdiff import Autoencoder, LatentDiffusion
from deblur_tf.models.flops import most_training_bytes, training_bytes
from deblur_tf.networks.vae import AutoencoderKL
from deblur_tf.numerics import image_ops
from deblur_tf.storage.arrays import frozen_variables, named_variables, read_npz, values_of
from deblur_tf.storage.checkpoints import Checkpoints
from deblur_tf.training import distribution, run
from deblur_tf.training.objectives import latent
from deblur_tf.training.objectives.latent import AutoencoderObjective, LatentObjective
from deblur_tf.training.validation import Validation
from tests.support.helpers import images, randomize, slow_but
from tests.support.latent_models import KINDS, MODELS, built, prior, recipe
from tests.support.models import latent_model, latent_parts


def prior_of(scale):
    unet = latent_parts()[1]
    return LatentDiffusion(AutoencoderKL((8, 8), 1, groups=4, scale=scale), unet, Velocity())


@pytest.mark.parametrize("kind", slow_but(KINDS, "kernels"))
def test_what_is_frozen_has_no_gradient_and_all_else_has_one(kind):
    import tensorflow as tf

    model = built(MODELS[kind])
    made = recipe(MODELS[kind])
    blurry, sharp = (np.uint8(127 * (images(k, 2, 16, 16, 3) + 1)) for k in (0, 1))

    def gradients(objective):
        with tf.GradientTape() as tape:
            terms = objective(model, blurry, sharp, 0, np.arange(2))
            loss = tf.reduce_sum(terms["loss"])
        names = named_variables(model, trainable_only=True)
        found = tape.gradient(loss, [v.value for v in names.values()])
        sizes = [0.0 if g is None else float(np.abs(g).max()) for g in found]
        return dict(zip(names, sizes, strict=True))

    trained = gradients(made.objective)
    assert all(size > 0 for size in trained.values())
    name = model.predictor.name if model.predictor else "control"
    assert {n.split("/")[0] for n in trained} == {"control", name}
    frozen = frozen_variables(model)
    assert {n.split("/")[0] for n in frozen} == {"vae", "unet", "context"}

    if kind == "control":
        return
    # A new branch hides the predictor from the loss of the noise, but not from its own.
    for layer in model.control.outlets:
        for variable in layer.variables:
            variable.assign(np.zeros(variable.shape, "float32"))
    alone = gradients(LatentObjective(latent_weight=0.0, pixel_weight=0.0))
    assert not any(size for n, size in alone.items() if n.startswith(name))
    own = gradients(LatentObjective(pixel_weight=0.0))
    assert all(size > 0 for n, size in own.items() if n.startswith(name))


def mean_square(a, b):
    return np.mean(np.square(np.array(a) - np.array(b)), axis=(1, 2, 3))


def test_the_three_losses_are_their_definitions(monkeypatch):
    """|eps^ - eps|^2 + |z^s - z_0|^2 + |D(z^s) - x|^2 at known timesteps, with a known noise."""
    model = built(latent_model)
    blurry, sharp = (np.uint8(127 * (images(k, 2, 16, 16, 3) + 1)) for k in (0, 1))
    objective = LatentObjective(latent_weight=2.0, pixel_weight=3.0)
    noise, level = images(2, 2, 8, 8, 4), np.float32(stable_diffusion_levels()[[250, 999]])
    monkeypatch.setattr(latent.noise, "uniform", lambda key: np.array([0.2501, 0.9999], "float32"))
    monkeypatch.setattr(latent.noise, "normal", lambda *_: noise)
    found = {k: np.array(v) for k, v in objective(model, blurry, sharp, 0, np.arange(2)).items()}
    assert set(found) == {"loss", "denoising", "latent", "pixel"}
    b, x = (np.float32(u / 127.5 - 1.0) for u in (blurry, sharp))
    z_0, a = np.array(model.vae.encode(x)), level[:, None, None, None]
    noisy = a * z_0 + np.sqrt(1.0 - a**2) * noise
    predicted, structure = model.estimates(noisy, level, model.condition(b))
    for name, errors in (
        ("denoising", (predicted, noise)),
        ("latent", (structure, z_0)),
        ("pixel", (model.vae.decode(structure), x)),
    ):
        np.testing.assert_allclose(found[name], mean_square(*errors), rtol=1e-4, err_msg=name)
    want = found["denoising"] + 2.0 * found["latent"] + 3.0 * found["pixel"]
    np.testing.assert_allclose(found["loss"], want, rtol=1e-6)
    without = LatentObjective(pixel_weight=0.0)
    assert set(without(model, blurry, sharp, 0, np.arange(2))) == {"loss", "denoising", "latent"}
    assert objective.decodes(model)
    assert not without.decodes(model)
    assert not objective.decodes(latent_model("control"))
    with pytest.raises(ValueError, match="pixel_weight must not be negative"):
        LatentObjective(pixel_weight=-1.0)

    whole = Autoencoder(latent_parts()[0])
    whole.build()
    randomize(whole)
    terms = AutoencoderObjective(kl_weight=0.5)(whole, blurry, sharp, 0, np.arange(2))
    mean, log_variance = (np.array(m) for m in whole.vae.moments(x))
    drawn = mean + np.exp(0.5 * log_variance) * noise
    np.testing.assert_allclose(terms["latent_square"], mean_square(drawn, 0.0), rtol=1e-5)
    l1 = np.mean(np.abs(np.array(whole.vae.decode(whole.vae.scale * drawn)) - x), axis=(1, 2, 3))
    np.testing.assert_allclose(terms["l1"], l1, rtol=1e-4)
    kl = 0.5 * np.mean(mean**2 + np.exp(log_variance) - 1 - log_variance, axis=(1, 2, 3))
    np.testing.assert_allclose(terms["kl"], kl, rtol=1e-5)
    np.testing.assert_allclose(terms["loss"], np.array(terms["l1"]) + 0.5 * kl, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["kernels", "direct"])
def test_the_quick_bound_of_memory_is_one(kind):
    model = MODELS[kind]()
    model.build()
    assert most_training_bytes(model, 192, 2) >= training_bytes(model, 192, 2, decodes=True) > 0


def test_memory_of_scores_and_of_what_the_loss_decodes_is_counted():
    """Latents of 32x32 have 2^20 scores in each of the encoder, the decoder's middle and so on."""
    model = latent_model()
    model.build()
    scores = 12.0 * 32**4
    steps = [training_bytes(model, 64, 1, decodes=decodes) for decodes in (False, True)]
    # The encoder, the middles of the predictor, the control branch and the UNet: one head each.
    assert steps[0] > 4 * scores
    decoder = 12.0 * sum(64**2 * c for c in (8, 8, 8, 8, 3))  # convolutions at full size alone
    assert steps[1] - steps[0] > scores + decoder


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["autoencoder", "prior", "kernels"])
def test_a_stage_is_trained_and_resumed(stage, tmp_path, eager_steps, capsys):
    """A run lacks nothing, and begins with what the stage before has learned."""
    objective = AutoencoderObjective() if stage == "autoencoder" else LatentObjective()
    before = {"autoencoder": None, "prior": "autoencoder", "kernels": "prior"}[stage]
    make, init_from = MODELS[stage], None
    if stage == "kernels":
        make = partial(latent_model, output=Velocity())  # as its prior has it
    if before:
        init_from = tmp_path / before
        saved.save_model(built(MODELS[before]), init_from, dtype="float32")

    def train(folder, steps):
        made = recipe(make, objective=objective, total_steps=steps)
        prepared = run.prepare(made, tmp_path / folder, distribution.choose("one"))
        assert run.train(prepared, init_from=init_from) == 0
        return prepared.stepper.model

    whole = train("whole", 2)
    train("parts", 1)
    model = train("parts", 2)
    for name, value in values_of(named_variables(whole)).items():
        np.testing.assert_array_equal(named_variables(model)[name].numpy(), value, err_msg=name)

    state = read_npz(Checkpoints(tmp_path / "parts").latest())
    stored = {n.removeprefix("model/") for n in state if n.startswith("model/")}
    assert stored == set(named_variables(model, trainable_only=True))
    frozen = frozen_variables(model)
    assert (tmp_path / "parts" / "frozen.npz").exists() == bool(frozen)
    loaded = saved.load_model(tmp_path / "parts").model
    for name, variable in frozen_variables(loaded).items():
        np.testing.assert_array_equal(variable.numpy(), frozen[name].numpy(), err_msg=name)
    if stage == "kernels":
        start = saved.load_model(init_from).model
        assert "new: control, predictor" in capsys.readouterr().out
        np.testing.assert_array_equal(loaded.unet.get_weights()[0], start.unet.get_weights()[0])


@pytest.mark.parametrize("name", slow_but(("autoencoder", "prior", "kernels"), "autoencoder"))
def test_stages_are_validated_on_what_they_see(name, eager_steps):
    """Sharp pictures have no PSNR of their own; a prior knows nothing of its picture."""
    blur = {} if name == "kernels" else {"max_extent": 0.0, "max_stddev": 0.0}
    made = recipe(MODELS[name], sampling=SamplingSettings(1))
    model = built(MODELS[name])
    pairs = PairGenerator(crop_size=16, **blur)
    validation = Validation(made, pairs, values_of(frozen_variables(model)))
    figures, picture = validation(values_of(named_variables(model, trainable_only=True)))
    want = {"autoencoder": {"psnr_restored"}, "prior": set()}
    assert set(figures) == want.get(name, {"psnr_blurry", "psnr_restored"})
    assert picture.shape == (16, 48, 3)
    if name == "autoencoder":
        x = image_ops.to_model_range(picture[None, :, :16])
        round_trip = image_ops.to_uint8_array(model.vae(x))[0]
        np.testing.assert_allclose(figures["psnr_restored"], psnr(round_trip, picture[:, :16]))


@pytest.mark.slow
def test_what_is_not_trained_must_have_been_learned(tmp_path, eager_steps):
    """Neither random parts are frozen, nor weights taken for what they are not."""
    stages = {"vae": MODELS["autoencoder"], "prior": prior, "other": lambda: prior_of(0.5)}
    for name, make in stages.items():
        saved.save_model(built(make), tmp_path / name, dtype="float32")

    def begin(make, init_from):
        made = recipe(make, total_steps=1, sampling=SamplingSettings(1))
        prepared = run.prepare(made, tmp_path / "run", distribution.choose("one"))
        return run.train(prepared, init_from=init_from)

    with pytest.raises(UsageError, match="leaves context, unet, vae as given"):
        begin(latent_model, None)
    with pytest.raises(UsageError, match="leaves context, unet as given"):
        begin(latent_model, tmp_path / "vae")
    with pytest.raises(UsageError, match="output is Velocity there, Noise here"):
        begin(latent_model, tmp_path / "prior")
    with pytest.raises(UsageError, match=r"vae\.scale is 0\.5 there, 0\.18215 here"):
        begin(prior, tmp_path / "other")
    (tmp_path / "other" / "model.json").write_text('{"registered_name": "deblur_tf>DeblurDiff"}')
    with pytest.raises(ModelError, match=r"other/model\.json: not a model configuration"):
        begin(prior, tmp_path / "other")
    assert not (tmp_path / "run").exists()
    # The scale of a mere autoencoder has no meaning.
    assert begin(lambda: prior_of(0.5), tmp_path / "vae") == 0
    (tmp_path / "run" / "frozen.npz").unlink()
    with pytest.raises(CheckpointError, match=r"frozen\.npz"):
        begin(lambda: prior_of(0.5), tmp_path / "vae")
