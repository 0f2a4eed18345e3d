"""Photos in and out, the Python interface, and the exported sampler."""

import pickle

import numpy as np
import pytest
from PIL import Image

from deblur_tf.base.errors import ModelError
from deblur_tf.diffusion.samplers import DDPM
from deblur_tf.diffusion.sampling import DEFAULT_SAMPLING, SamplingSettings
from deblur_tf.inference.deblurrer import Deblurrer
from deblur_tf.inference.pictures import mean_image
from deblur_tf.models import saved
from deblur_tf.storage import model_folders
from deblur_tf.storage.arrays import named_variables, read_npz
from deblur_tf.storage.checkpoints import Checkpoints
from tests.support.models import small_model


@pytest.fixture(scope="module")
def deblurrer(model):
    return Deblurrer(model)


def picture(height=21, width=18, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_the_kind_and_size_of_the_input_come_back(deblurrer, tmp_path):
    pixels = picture()
    result = deblurrer.restore(pixels, steps=2)
    assert result.shape == pixels.shape
    assert result.dtype == np.uint8
    floats = deblurrer.restore((pixels / 255).astype("float32"), steps=2)
    assert floats.dtype == np.float32
    np.testing.assert_array_equal(np.round(255 * floats), result)
    deep = deblurrer.restore(pixels.astype(np.uint16) * 257, steps=2)
    assert deep.dtype == np.uint16
    np.testing.assert_allclose(deep / 65535, floats, atol=1e-4)
    batch = deblurrer.restore(np.stack([picture(seed=1), pixels]), steps=2)
    np.testing.assert_array_equal(batch[1], result)
    image = deblurrer.restore(Image.fromarray(pixels), steps=2)
    np.testing.assert_array_equal(np.asarray(image), result)
    image.close()
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(
        np.asarray(deblurrer.restore(tmp_path / "a.png", steps=2)), result
    )


def test_gray_and_transparent_arrays_come_back_as_such(deblurrer):
    """Gray is restored as three equal channels, and alpha is not restored."""
    gray, alpha = picture()[..., 0], picture(seed=1)[..., :1]
    want = deblurrer.restore(np.repeat(gray[..., None], 3, axis=-1), steps=2)
    assert (want[..., 0] == want[..., 2]).all()
    np.testing.assert_array_equal(deblurrer.restore(gray, steps=2), want[..., 0])
    found = deblurrer.restore(gray[None, ..., None], steps=2)
    np.testing.assert_array_equal(found, want[None, ..., :1])
    rgba = np.concatenate([picture(), alpha], axis=-1)
    found = deblurrer.restore(rgba, steps=2)
    np.testing.assert_array_equal(found[..., :3], deblurrer.restore(picture(), steps=2))
    np.testing.assert_array_equal(found[..., 3:], alpha)
    for shape in ((8,), (8, 8, 2), (1, 8, 8, 5), (1, 1, 8, 8, 3)):
        with pytest.raises(ValueError, match="need .H, W., or"):
            deblurrer.restore(np.zeros(shape, np.uint8))


def test_a_function_that_is_compiled_is_told_what_to_use(deblurrer):
    import tensorflow as tf

    @tf.function
    def traced(image):
        return deblurrer.restore(image)

    with pytest.raises(ValueError, match="use deblur_tf.Restoration"):
        traced(tf.zeros((8, 8, 3)))


def test_samples_do_not_depend_on_how_many_are_drawn_at_a_time(deblurrer):
    """Sample i of an image is a function of image, seed and i, in batches of any size."""
    batch = np.stack([picture(seed=1), picture(seed=2)])
    settings = deblurrer.settings(steps=2, n_samples=3)
    alone = [deblurrer.draw(batch[i : i + 1], 7 + i, settings) for i in range(2)]
    want = np.concatenate(alone, axis=1)
    for batch_size in (1, 4, 8):
        done = []
        found = deblurrer.draw(batch, [7, 8], settings, done.append, batch_size=batch_size)
        np.testing.assert_allclose(found, want, atol=2e-5)
        assert done[-1] == 6


def test_pil_images_keep_mode_alpha_and_info(deblurrer, tmp_path):
    rgba = np.dstack([picture(), picture(seed=1)[..., 0]])
    given = Image.fromarray(rgba)
    given.info["dpi"] = (300, 300)
    found = deblurrer.restore(given, steps=2)
    assert found.mode == "RGBA"
    assert found.info["dpi"] == (300, 300)
    np.testing.assert_array_equal(np.asarray(found)[..., 3], rgba[..., 3])
    np.testing.assert_array_equal(
        np.asarray(found)[..., :3], deblurrer.restore(rgba[..., :3], steps=2)
    )
    assert deblurrer.restore(Image.fromarray(picture()[..., 0]), steps=1).mode == "L"
    deep = Image.fromarray(picture()[..., 0].astype(np.uint16) * 257)
    assert deblurrer.restore(deep, steps=1).mode.startswith("I;16")
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Camera"
    Image.fromarray(picture()).save(tmp_path / "a.jpg", exif=exif)
    found = deblurrer.restore(tmp_path / "a.jpg", steps=1)
    assert found.size == (21, 18)  # upright
    assert found.getexif()[0x010F] == "Camera"
    assert 0x0112 not in found.getexif()


def test_restore_many_mixes_kinds_and_sizes(deblurrer, tmp_path):
    Image.fromarray(picture(seed=4)).save(tmp_path / "a.png")
    batch = np.stack([picture(seed=5), picture(seed=6)])
    given = [
        picture(seed=1),
        picture(10, 12, seed=2),
        Image.fromarray(picture(seed=3)),
        tmp_path / "a.png",
        batch,
        picture(seed=7).astype(np.uint16) * 257,
    ]
    found = deblurrer.restore_many(given, batch_size=3, steps=2, seed=4)
    for one, image in zip(found, given, strict=True):
        want = deblurrer.restore(image, steps=2, seed=4)
        assert type(one) is type(want)
        np.testing.assert_allclose(
            np.asarray(one, np.float64),
            np.asarray(want, np.float64),
            atol=1 if image is not given[-1] else 300,
        )
    assert deblurrer.restore_many([]) == []


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (picture().astype(np.float32), r"must be in \[0, 1\], got 0 to 255"),
        (np.full((8, 8, 3), np.nan, np.float32), r"must be in \[0, 1\]"),
        (picture()[..., :2], "need"),
    ],
)
def test_what_is_no_picture_is_said(deblurrer, image, message):
    with pytest.raises(ValueError, match=message):
        deblurrer.restore(image)


@pytest.mark.slow
def test_the_example_of_the_documentation_string():
    import doctest

    from deblur_tf.inference import deblurrer as module

    assert doctest.testmod(module).failed == 0


def test_seeds_and_samples(deblurrer):
    pixels = picture()
    first = deblurrer.samples(pixels, steps=2, seed=1, n_samples=3)
    np.testing.assert_array_equal(first, deblurrer.samples(pixels, steps=2, seed=1, n_samples=3))
    assert np.any(first != deblurrer.samples(pixels, steps=2, seed=2, n_samples=3))
    assert np.any(first[0] != first[1])
    np.testing.assert_array_equal(first[:1], deblurrer.samples(pixels, steps=2, seed=1))
    mean = np.round((first.mean(0) + 1) * 127.5)
    assert np.abs(mean_image(first) - mean).max() <= 1


def test_progress_counts_every_step(deblurrer):
    done = []
    deblurrer.samples(picture(), steps=3, n_samples=2, on_step=done.append)
    assert done == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("image", "settings"),
    [
        (picture().astype("int32"), {}),
        (picture()[..., :2], {}),
        (picture(), {"n_samples": 0}),
        (picture(), {"steps": 0}),
        (picture(), {"beta_max": 2.0}),
    ],
)
def test_impossible_requests_are_refused(deblurrer, image, settings):
    with pytest.raises(ValueError, match="need|must"):
        deblurrer.restore(image, **settings)


def save_run(folder, model, ema_scale):
    """A run directory whose averaged weights are the weights times `ema_scale`."""
    folder.mkdir()
    saved.save_model_config(model, folder)
    arrays = {name: np.array(v.value) for name, v in named_variables(model).items()}
    state = {f"model/{n}": a for n, a in arrays.items()}
    state |= {f"ema/{n}": a * np.float32(ema_scale) for n, a in arrays.items()}
    Checkpoints(folder).save(state | {"step": np.int64(12)})


def test_a_run_is_loaded_with_its_averaged_weights(tmp_path, model):
    save_run(tmp_path / "run", model, 0.5)
    loaded, origin, *_ = saved.load_model(tmp_path / "run")
    assert "averaged weights of step 12" in origin
    for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(a, 0.5 * b)


def test_one_checkpoint_of_a_run_can_be_chosen(tmp_path, model):
    save_run(tmp_path / "run", model, 0.5)
    checkpoints = Checkpoints(tmp_path / "run")
    best = {n: a * np.float32(0.5) for n, a in read_npz(checkpoints.latest()).items()}
    checkpoints.save_best(best | {"step": np.int64(7)}, 30.0)
    loaded, origin, *_ = saved.load_model(checkpoints.best)
    assert "best.npz (averaged weights of step 7)" in origin
    for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(a, 0.25 * b)


def test_a_saved_model_folder_is_small_and_close(tmp_path, model):
    saved.save_model(model, tmp_path)
    size = (tmp_path / "weights.npz").stat().st_size
    assert size < 2 * model.count_params() + 150_000
    loaded, origin, *_ = saved.load_model(tmp_path)
    assert "weights.npz" in origin
    for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)


def test_recommended_settings_travel_with_the_model(tmp_path, model):
    settings = SamplingSettings(2, 0.8, 3)
    saved.save_model(model, tmp_path / "a", settings, dtype="float32")
    loaded = Deblurrer.from_pretrained(tmp_path / "a")
    assert loaded.sampling == settings
    image = picture(seed=1)
    np.testing.assert_array_equal(
        loaded.samples(image), loaded.samples(image, steps=2, beta_max=0.8, n_samples=3)
    )
    saved.save_model(*[loaded.model, tmp_path / "b", loaded.sampling])
    assert saved.load_model(tmp_path / "b").sampling == settings
    assert saved.same_model_config(model, tmp_path / "b")
    path = tmp_path / "b" / "model.json"
    path.write_text(path.read_text().replace('"dtype"', '"trainable": true, "dtype"'))
    assert saved.same_model_config(model, tmp_path / "b")  # as earlier versions wrote it
    # Another number of steps wants another beta_max.
    assert settings.but(steps=5) == SamplingSettings(5, None, 3)
    assert settings.but(steps=2, n_samples=1) == SamplingSettings(2, 0.8, 1)
    assert settings.but(beta_max=0.5) == SamplingSettings(2, 0.5, 3)


@pytest.mark.parametrize("values", [(0,), (3, 1.5), (3, None, 0)])
def test_impossible_settings_are_refused(values):
    with pytest.raises(ValueError, match=r"must be 1 or more|beta_max"):
        SamplingSettings(*values)


def test_a_training_policy_does_not_follow_the_model(tmp_path):
    mixed = small_model(dtype="mixed_bfloat16")
    mixed.build()
    saved.save_model(mixed, tmp_path)
    assert "bfloat16" not in (tmp_path / "model.json").read_text()
    loaded = saved.load_model(tmp_path).model
    assert loaded.unet.dtype_policy.name == "float32"


def test_models_that_cannot_be_loaded_are_explained(tmp_path, model):
    with pytest.raises(ModelError, match=r"no model 'nowhere'.*tiny"):
        saved.load_model("nowhere")
    saved.save_model_config(model, tmp_path)
    with pytest.raises(ModelError, match="no weights there yet"):
        saved.load_model(tmp_path)
    (tmp_path / "weights.npz").write_bytes(b"broken")
    with pytest.raises(ModelError, match=r"weights\.npz"):
        saved.load_model(tmp_path)
    saved.save_model(model, tmp_path)
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(ModelError, match=r"model\.json"):
        saved.load_model(tmp_path)


def test_the_model_in_the_box():
    assert "tiny" in model_folders.pretrained_names()
    folder = model_folders.pretrained_dir("tiny")
    assert sum(p.stat().st_size for p in folder.iterdir()) < 10e6
    card = (folder / "README.md").read_text()
    for word in ("licence", "steps", "PSNR"):
        assert word in card
    loaded = saved.load_model("tiny").model
    assert all(np.isfinite(w).all() for w in loaded.get_weights())


@pytest.mark.parametrize("steps", [1, 2, 7, 20, 50])
def test_the_graph_computes_the_same_schedule(steps):
    import tensorflow as tf

    from deblur_tf.serving.export import schedule_in_graph

    table = DDPM().table

    for sampling in (DEFAULT_SAMPLING, SamplingSettings(1, 0.9975), SamplingSettings(7, 0.8)):
        in_graph = tf.function(lambda n, s=sampling: table(schedule_in_graph(n, s)))
        got, want = in_graph(tf.constant(steps)), table(sampling.but(steps).schedule())
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-12)


def test_a_used_deblurrer_can_be_pickled(micro_dir):
    """Compiled parts stay behind, and are compiled again: equal bits."""
    picture = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
    deblurrer = Deblurrer.from_pretrained(micro_dir)
    before = deblurrer.restore(picture, always=True)
    again = pickle.loads(pickle.dumps(deblurrer))
    np.testing.assert_array_equal(again.restore(picture, always=True), before)


def test_a_deblurrer_that_was_used_before_a_fork_says_so(micro_dir, monkeypatch):
    """TensorFlow would hang there for ever."""
    picture = np.zeros((16, 16, 3), np.uint8)
    deblurrer = Deblurrer.from_pretrained(micro_dir)
    deblurrer.restore(picture)
    monkeypatch.setattr("os.getpid", lambda: -1)
    with pytest.raises(RuntimeError, match=r'get_context\("spawn"\)'):
        deblurrer.restore(picture)


def test_a_gray_picture_has_no_tint_afterwards(micro):
    """In Python and in the SavedModel, which has the same last step."""
    gray = np.repeat(np.random.default_rng(0).integers(0, 256, (20, 24, 1), np.uint8), 3, -1)
    restored = Deblurrer(micro).restore(gray, steps=2, always=True)
    assert np.abs(restored.astype(int) - gray).max() > 0
    np.testing.assert_array_equal(restored, np.repeat(restored[..., :1], 3, -1))
