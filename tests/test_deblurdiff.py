"""DeblurDiff as a restorer: contracts, gradients, refinement, training, tiles, SavedModel."""

from functools import partial

import keras
import numpy as np
import pytest

from deblur_tf import image_ops
from deblur_tf.arrays import frozen_variables, named_variables, read_npz, values_of
from deblur_tf.backend import eagerly
from deblur_tf.checkpoints import Checkpoints
from deblur_tf.data.pairs import PairGenerator
from deblur_tf.diffusion.outputs import Velocity
from deblur_tf.diffusion.schedules import (
    SamplingSettings,
    spaced_schedule,
    stable_diffusion_levels,
)
from deblur_tf.errors import CheckpointError, UsageError
from deblur_tf.inference import memory
from deblur_tf.inference.deblurrer import Deblurrer
from deblur_tf.metrics.psnr import psnr
from deblur_tf.models import saved
from deblur_tf.models.deblurdiff import Autoencoder, DeblurDiff, LatentDiffusion
from deblur_tf.models.flops import count_flops, most_training_bytes, training_bytes
from deblur_tf.models.restoration import Restoration, sample_keys
from deblur_tf.models.tiles import TiledRestoration
from deblur_tf.networks.vae import AutoencoderKL
from deblur_tf.training import distribution, latent, run
from deblur_tf.training.latent import AutoencoderObjective, LatentObjective
from deblur_tf.training.recipe import Recipe
from deblur_tf.training.steppers import make_stepper
from deblur_tf.training.validation import Validation
from tests.conftest import images, latent_model, latent_parts, randomize, slow_but

KINDS = ("kernels", "direct", "once", "control")
SEVEN = SamplingSettings(steps=7)


def prior():
    vae, unet, *_ = latent_parts()
    return LatentDiffusion(vae, unet, Velocity())


def prior_of(scale):
    unet = latent_parts()[1]
    return LatentDiffusion(AutoencoderKL((8, 8), 1, groups=4, scale=scale), unet, Velocity())


MODELS = {kind: lambda kind=kind: latent_model(kind) for kind in KINDS}
MODELS |= {"prior": prior, "autoencoder": lambda: Autoencoder(latent_parts()[0])}


def built(make, scale=0.1):
    model = make()
    model.build()
    return randomize(model, scale=scale)


def recipe(make, **changes):
    settings = {
        "model": make,
        "pairs": lambda: PairGenerator(crop_size=16),
        "optimizer": lambda: keras.optimizers.SGD(1e-2),  # Adam without a graph is slow
        "objective": LatentObjective(),
        "batch_size": 2,
        "total_steps": 2,
        "ema_decay": 0.5,
        "log_every": 1,
        "checkpoint_every": 1,
        "validate_every": 2,
        "validation_images": 1,
        "sampling": SamplingSettings(steps=2),
    }
    return Recipe(**(settings | changes))


def trained_a_little():
    """Two steps of training and what is predicted then, by name; on either backend."""
    made = recipe(lambda: randomize_built(latent_model()))
    stepper = make_stepper(made)
    batches = stepper.batches(made.pairs(), 0)
    losses = {f"loss/{i}": dict(stepper(next(batches), i)) for i in range(2)}
    found = {f"{i}/{n}": np.reshape(v, ()) for i, x in losses.items() for n, v in x.items()}
    state = stepper.state(2)
    found |= {n: v for n, v in state.items() if n.startswith("model/predictor/unet/conv")}
    condition = stepper.model.condition(images(0, 2, 16, 16, 3))
    level = np.array([0.3, 0.9], "float32")
    noise, structure = stepper.model.estimates(images(1, 2, 8, 8, 4), level, condition)
    return found | {"noise": np.array(noise), "structure": np.array(structure)}


def randomize_built(model):
    model.build()
    return randomize(model)


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
    assert "7 of 1000 steps, ddpm" in SEVEN.describe(deblurrer.model.betas)


def test_every_spaced_level_is_its_timestep():
    model = latent_model()
    levels = spaced_schedule(1000).noise_levels[1:].astype("float32")
    np.testing.assert_array_equal(model.timestep(levels), np.arange(1000))


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
    assert set(found) == set(objective.terms(model))
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
    assert set(LatentObjective(pixel_weight=0.0).terms(model)) == {"loss", "denoising", "latent"}
    assert objective.terms(latent_model("control")) == ("loss", "denoising")
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
    if frozen:
        (tmp_path / "parts" / "frozen.npz").unlink()
        with pytest.raises(CheckpointError, match=r"frozen\.npz"):
            train("parts", 3)
    if stage == "kernels":
        start = saved.load_model(init_from).model
        assert "new: control, predictor" in capsys.readouterr().out
        np.testing.assert_array_equal(loaded.unet.get_weights()[0], start.unet.get_weights()[0])


@pytest.mark.parametrize("name", ["autoencoder", "prior", "kernels"])
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


def test_what_is_not_trained_must_have_been_learned(tmp_path, eager_steps):
    """Neither random parts are frozen, nor weights taken for what they are not."""
    stages = {"vae": MODELS["autoencoder"], "prior": prior, "other": lambda: prior_of(0.5)}
    for name, make in stages.items():
        saved.save_model(built(make), tmp_path / name, dtype="float32")

    def begin(make, init_from):
        made = recipe(make, validate_every=99)
        prepared = run.prepare(made, tmp_path / "run", distribution.choose("one"))
        return run.train(prepared, stop_after=0.0, init_from=init_from)

    with pytest.raises(UsageError, match="leaves context, unet, vae as given"):
        begin(latent_model, None)
    with pytest.raises(UsageError, match="leaves context, unet as given"):
        begin(latent_model, tmp_path / "vae")
    with pytest.raises(UsageError, match="output is Velocity there, Noise here"):
        begin(latent_model, tmp_path / "prior")
    with pytest.raises(UsageError, match=r"vae\.scale is 0\.5 there, 0\.18215 here"):
        begin(prior, tmp_path / "other")
    assert not (tmp_path / "run").exists()
    # The scale of a mere autoencoder has no meaning.
    assert begin(lambda: prior_of(0.5), tmp_path / "vae") != 0


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
