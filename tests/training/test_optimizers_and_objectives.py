"""Objective, optimizer, EMA and checkpoints, each against a twin or by hand."""

import keras
import numpy as np
import pytest

from deblur_tf.base.errors import CheckpointError
from deblur_tf.diffusion import losses
from deblur_tf.diffusion.outputs import Noise, Velocity
from deblur_tf.models.icdpm import Guided, GuidedDiffusion
from deblur_tf.models.restorer import DiffusionRestorer
from deblur_tf.networks.guidance import Guidance, MultiscaleGuidance, structure
from deblur_tf.networks.unet import UNet
from deblur_tf.storage.arrays import assign_named, named_variables, read_npz, select, write_npz
from deblur_tf.storage.checkpoints import Checkpoints
from deblur_tf.training.ema import EMA, ema_decay, ema_update
from deblur_tf.training.objectives.diffusion import Draws, Objective, batch_loss
from deblur_tf.training.optimizer import WarmUp, adam, adamw
from tests.support.helpers import images, randomize
from tests.support.models import small_model


class FixedModel(DiffusionRestorer):
    """Predicts constants, so that the loss can be written down."""

    guidance_scales = (1, 2)

    def condition(self, blurry, noise):
        return Guided(blurry, Guidance((), tuple(0 * n for n in noise), ()))

    def raw_output(self, noisy, noise_level, condition):
        self.noisy = np.array(noisy)
        return 0 * noisy

    def regression_terms(self, condition, sharp):
        predictions = condition.guidance.predictions
        targets = [structure(sharp, k) for k in self.guidance_scales]
        return predictions, targets, [1 + p for p in predictions]


def draws(batch=2):
    noise = tuple(images(k, batch, 16 // 2**k, 16 // 2**k, 1) for k in (1, 2))
    return Draws(images(3, batch, 16, 16, 3), np.array([0.5, 0.25], "float32"), noise)


@pytest.mark.parametrize("form", [Noise(), Velocity()])
def test_batch_loss_is_regression_plus_warm_denoising(form):
    sharp, blurry, drawn, fixed = (
        images(0, 2, 16, 16, 3),
        images(1, 2, 16, 16, 3),
        draws(),
        FixedModel(),
    )
    fixed.output_form = form
    found = batch_loss(fixed, fixed.condition(blurry, drawn.guidance_noise), sharp, drawn, 15, 60)
    level = drawn.noise_level[:, None, None, None]
    np.testing.assert_allclose(
        fixed.noisy, level * sharp + np.sqrt(1 - level**2) * drawn.noise, atol=1e-6
    )
    wanted = drawn.noise
    if form == Velocity():
        wanted = level * drawn.noise - np.sqrt(1 - level**2) * sharp
    denoising = np.abs(wanted).mean((1, 2, 3))
    regression = np.mean(
        [np.square(np.array(structure(sharp, k))).mean((1, 2, 3)) for k in (1, 2)], axis=0
    )
    np.testing.assert_allclose(found["denoising"], denoising, rtol=1e-5)
    copied = np.mean(
        [np.square(1 - np.array(structure(sharp, k))).mean((1, 2, 3)) for k in (1, 2)], axis=0
    )
    np.testing.assert_allclose(found["regression"], regression, rtol=1e-5)
    np.testing.assert_allclose(found["regression_of_input"], copied, rtol=1e-5)
    np.testing.assert_allclose(found["loss"], regression + 0.25 * denoising, rtol=1e-5)


def test_charbonnier_is_l1_far_away_and_a_parabola_near():
    zero = np.zeros((3, 1, 1, 1), "float32")
    error = zero + np.array([0.01, 1.0, 100.0], "float32")[:, None, None, None]
    found = np.array(losses.charbonnier(error, zero, width=0.5))
    np.testing.assert_allclose(found, np.hypot([0.01, 1, 100], 0.5) - 0.5, rtol=1e-4)
    np.testing.assert_allclose(found[0], 0.01**2 / (2 * 0.5), rtol=1e-2)
    np.testing.assert_allclose(losses.denoising_l1(error, zero), [0.01, 1, 100], rtol=1e-6)


def test_log_mse_is_psnr_of_each_image():
    rng = np.random.default_rng(0)
    wanted = rng.standard_normal((2, 8, 8, 3)).astype("float32")
    result = wanted + np.array([0.1, 2.0], "float32")[:, None, None, None]
    psnr = -20 / np.log(10) * np.array(losses.log_mse(result, wanted, floor=0.0))
    np.testing.assert_allclose(psnr, -20 * np.log10([0.1, 2.0]), rtol=1e-4)
    # A perfect image has a finite loss, and its gradient does not explode.
    assert np.array(losses.log_mse(wanted, wanted)).tolist() == pytest.approx(
        [0.5 * np.log(1e-3)] * 2
    )


def test_the_regression_target_is_the_sharp_image(model):
    sharp, blurry = images(0, 2, 16, 16, 3), images(1, 2, 16, 16, 3)
    objective = Objective()
    drawn = objective.draw(model, (2, 16, 16, 3), 0, np.arange(2))
    a = batch_loss(model, model.condition(blurry, drawn.guidance_noise), sharp, drawn, 0)
    b = batch_loss(model, model.condition(blurry, drawn.guidance_noise), sharp[::-1], drawn, 0)
    assert np.abs(np.array(a["regression"]) - np.array(b["regression"])).max() > 1e-4


def test_draws_depend_on_seed_step_and_item_not_on_the_split(model):
    objective = Objective(seed=3)
    whole = objective.draw(model, (4, 16, 16, 3), 7, np.arange(4))
    half = objective.draw(model, (2, 16, 16, 3), 7, np.arange(2, 4))
    np.testing.assert_allclose(whole.noise[2:], half.noise, atol=1e-6)
    np.testing.assert_allclose(whole.noise_level[2:], half.noise_level, atol=1e-6)
    np.testing.assert_allclose(whole.guidance_noise[1][2:], half.guidance_noise[1], atol=1e-6)
    for other in (
        objective.draw(model, (4, 16, 16, 3), 8, np.arange(4)),
        Objective(seed=4).draw(model, (4, 16, 16, 3), 7, np.arange(4)),
        objective.draw(model, (4, 16, 16, 3), 7, np.arange(4, 8)),
    ):
        assert np.abs(np.array(other.noise) - np.array(whole.noise)).max() > 1
        assert np.all(np.array(other.noise_level) != np.array(whole.noise_level))


def test_an_untrained_guidance_returns_what_it_sees():
    built = small_model()
    built.build()
    blurry, sharp = images(0, 2, 16, 16, 3), images(1, 2, 16, 16, 3)
    found = Objective()(built, blurry, sharp, 0, np.arange(2))
    np.testing.assert_allclose(found["regression"], found["regression_of_input"], rtol=1e-6)


def test_warm_up_then_constant_or_cosine():
    constant = WarmUp(1e-3, 10)
    np.testing.assert_allclose(
        [float(constant(s)) for s in (0, 4, 9, 10, 10_000)],
        [1e-4, 5e-4, 1e-3, 1e-3, 1e-3],
        rtol=1e-6,
    )
    cosine = WarmUp(1e-3, 10, 110)
    np.testing.assert_allclose(
        [float(cosine(s)) for s in (9, 10, 60, 110, 500)],
        [1e-3, 1e-3, 5e-4, 0, 0],
        atol=1e-9,
    )
    with pytest.raises(ValueError, match="decay_steps"):
        WarmUp(1e-3, 10, 10)


def test_adam_matches_its_numpy_twin():
    optimizer = adam(learning_rate=0.1, warmup_steps=4)
    w = keras.Variable(np.array([1.0, -2.0, 3.0], "float32"))
    optimizer.build([w])
    want, m, v = np.array([1.0, -2.0, 3.0]), 0.0, 0.0
    for t in range(1, 7):
        gradient = np.array([0.5, -0.1, 2.0]) * t
        optimizer.apply([keras.ops.convert_to_tensor(gradient.astype("float32"))], [w])
        m, v = 0.5 * m + 0.5 * gradient, 0.999 * v + 0.001 * gradient**2
        rate = 0.1 * min(t / 4, 1)
        want = want - rate * (m / (1 - 0.5**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-7)
    np.testing.assert_allclose(w.value, want, rtol=1e-5)


@pytest.mark.parametrize("make", [adam, adamw])
def test_updates_in_one_operation_are_those_of_keras(make):
    theirs = {adam: keras.optimizers.Adam, adamw: keras.optimizers.AdamW}[make]
    decay = {"weight_decay": 0.1} if make is adamw else {}
    betas = {"beta_1": 0.8, "beta_2": 0.95}
    found = []
    for optimizer in (make(0.01, 0, **betas, **decay), theirs(0.01, **betas, **decay)):
        weights = [keras.Variable(images(i, 3, 2)) for i in range(2)]
        optimizer.build(weights)
        for step in range(5):
            optimizer.apply([images(10 * step + i, 3, 2) for i in range(2)], weights)
        moments = [v for v in optimizer.variables if v.shape == (3, 2)]
        found.append([np.array(v.value) for v in (*weights, *moments)])
    assert len(found[0]) == 6
    for ours, wanted in zip(*found, strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-7)


def test_ema_follows_its_formula_and_leaves_the_weights_alone():
    layer = keras.layers.Dense(1, use_bias=False)
    layer.build((None, 1))
    layer.kernel.assign([[2.0]])
    ema = EMA(layer, decay=0.9)
    want = 2.0
    for step in range(200):
        layer.kernel.assign([[float(step)]])
        ema.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        want = decay * want + (1 - decay) * step
        assert float(layer.kernel.value[0, 0]) == step
    assert float(ema.variables["kernel"].value[0, 0]) == pytest.approx(want, rel=1e-5)


def test_ema_warm_up_and_limits():
    assert float(ema_decay(0, 0.9999)) == pytest.approx(0.1)
    assert float(ema_decay(10**9, 0.9999)) == pytest.approx(0.9999)
    assert float(ema_update(np.float32(2), np.float32(4), 0.75)) == pytest.approx(2.5)
    with pytest.raises(ValueError, match="decay"):
        EMA(keras.layers.Dense(1), decay=1.0)


def test_checkpoints_keep_the_newest(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    assert checkpoints.latest() is None
    for step in (5, 30, 100):
        checkpoints.save({"step": np.int64(step), "model/w": np.full(3, step, "float32")})
    assert [p.name for p in checkpoints.all()] == ["step_00000030.npz", "step_00000100.npz"]
    state = read_npz(checkpoints.latest())
    np.testing.assert_array_equal(select(state, "model")["w"], [100, 100, 100])
    with pytest.raises(ValueError, match="keep"):
        Checkpoints(tmp_path, keep=0)


def test_a_failed_write_leaves_no_file_and_keeps_the_old(tmp_path, monkeypatch):
    path = tmp_path / "state.npz"
    write_npz(path, {"a": np.ones(3)})

    def full_disk(file, **arrays):
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_npz(path, {"a": np.zeros(3)})
    assert [p.name for p in tmp_path.iterdir()] == ["state.npz"]
    np.testing.assert_array_equal(read_npz(path)["a"], np.ones(3))


def test_partial_files_of_a_killed_run_are_ignored_and_removed(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"step": np.int64(1)})
    leftover = checkpoints.folder / "tmpabc.partial"
    leftover.write_bytes(b"half a checkpoint")
    assert checkpoints.latest().name == "step_00000001.npz"
    checkpoints.save({"step": np.int64(2)})
    assert not leftover.exists()


def test_damaged_and_foreign_checkpoints_are_named(tmp_path, model):
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 damaged")
    with pytest.raises(CheckpointError, match=r"bad\.npz"):
        read_npz(tmp_path / "bad.npz")
    named = named_variables(model)
    state = {name: np.array(v.value) for name, v in named.items()}
    before = model.get_weights()
    name = next(iter(state))
    for change, message in (
        ({name: None}, "missing: " + name),
        ({"extra": np.ones(1)}, "not in the model: extra"),
        ({name: np.ones(1)}, "of another shape"),
    ):
        broken = {n: a for n, a in (state | change).items() if a is not None}
        with pytest.raises(CheckpointError, match=message):
            assign_named(named, broken, "file")
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_round_trip_by_name(model):
    copy = small_model()
    copy.build()
    state = {name: np.array(v.value) for name, v in named_variables(model).items()}
    assert "unet/encoder_1_0/inject/project/kernel" in state
    assert "guidance/scale_3/regression/bias" in state
    assign_named(named_variables(randomize(copy, seed=9)), state, "memory")
    for a, b in zip(copy.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_adamw_takes_its_decay_off_the_weight():
    """Keras' form: learning rate times decay times weight, whatever the gradient."""
    variable = keras.Variable(np.array([2.0], "float32"))
    optimizer = adamw(learning_rate=0.1, weight_decay=0.01)
    optimizer.build([variable])
    optimizer.apply([np.zeros(1, "float32")], [variable])
    np.testing.assert_allclose(variable.value, 2.0 * (1 - 0.1 * 0.01), rtol=1e-6)


def test_rgb_guidance_has_noise_of_its_own_in_each_channel():
    model = GuidedDiffusion(
        UNet(4, (1, 2), guided_depths=(1,), num_res_blocks=1, num_middle_blocks=1),
        MultiscaleGuidance(2, scales=(1,), target="rgb", num_res_blocks=1, num_middle_blocks=1),
    )
    (drawn,) = Objective().draw(model, (2, 16, 16, 3), 0, np.arange(2)).guidance_noise
    assert drawn.shape == (2, 8, 8, 3)
    correlation = np.corrcoef(np.array(drawn).reshape(-1, 3).T)
    assert np.abs(correlation - np.eye(3)).max() < 0.3


def test_a_warm_start_without_a_regression_loss_is_refused():
    """At step 0 the only loss would have the weight 0."""
    with pytest.raises(ValueError, match="set warm_start_steps to 0"):
        Objective(regression_weight=0.0)
    Objective(regression_weight=0.0, warm_start_steps=0)
