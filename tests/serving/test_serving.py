"""The SavedModel in a process with TensorFlow alone, requests of clients, ONNX."""

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from PIL import Image

from deblur_tf.base.errors import UsageError
from deblur_tf.diffusion.sampling import SamplingSettings
from deblur_tf.inference.deblurrer import Deblurrer
from deblur_tf.models.regression import Regression
from tests.support.helpers import randomize
from tests.support.models import blind_wiener, deconvolved_model
from tests.support.serving import MAX_PIXELS, blocks, picture


def test_versions_count_up_and_other_folders_are_left_alone(exported, tmp_path):
    from deblur_tf.serving.export import next_version

    assert next_version(exported[0]) == 2
    assert next_version(tmp_path / "new") == 1
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"has 'notes\.txt' in it"):
        next_version(tmp_path)


ALONE = """
    import sys
    sys.modules["keras"] = sys.modules["deblur_tf"] = None
    import threading
    import numpy as np, tensorflow as tf
    s = tf.saved_model.load("exported").signatures
    assert sorted(s) == [
        "encoded", "encoded_with_settings", "guidance", "serving_default", "with_settings"]
    images = np.load("in.npy")
    def own(seed=(0,), steps=(2,), beta_max=(0.0,), n_samples=(1,)):
        return {"seed": tf.constant(seed, tf.int64), "steps": tf.constant(steps, tf.int32),
                "beta_max": tf.constant(beta_max, tf.float32),
                "n_samples": tf.constant(n_samples, tf.int32)}
    def run(name, image, **settings):
        key = "image_bytes" if name.startswith("encoded") else "image"
        (result,) = s[name](**{key: tf.constant(image)}, **settings).values()
        return result.numpy()
    found = {
        "default": run("serving_default", images),
        "seeds": run("with_settings", images, **own(seed=(7, 2**40), steps=(3,))),
        "means": run("with_settings", images, **own(n_samples=(3,), beta_max=(0.5, 0.5))),
        "dot": run("serving_default", images[:, :1, :1]),
        "odd": run("serving_default", images[:1, :19, :13]),
    }
    png, jpeg = (tf.io.encode_png(images[0]).numpy(), tf.io.encode_jpeg(images[1][:10]).numpy())
    for i, data in enumerate(run("encoded", [png, jpeg])):
        found[f"encoded_{i}"] = tf.io.decode_png(data).numpy()
    found["jpeg"] = tf.io.decode_jpeg(jpeg).numpy()
    data = run("encoded_with_settings", [png], **own(seed=(7,), steps=(3,)))[0]
    found["encoded_own"] = tf.io.decode_png(data).numpy()
    for name, value in s["guidance"](image=tf.constant(images)).items():
        found["guidance_" + name] = value.numpy()
    threads = []
    for i in range(6):
        def work(i=i):
            found[f"thread_{i}"] = run("with_settings", images, **own(seed=(i, i)))
        threads.append(threading.Thread(target=work))
        threads[-1].start()
    for thread in threads: thread.join()
    np.savez("out.npz", **found)
    for name, image, settings, message in (
        ("serving_default", images[0], {}, "image must be uint8 [batch, height, width, 3]"),
        ("serving_default", images[..., :1], {}, "image must be uint8 [batch, height, width, 3]"),
        ("serving_default", images[:0], {}, "image has no pictures"),
        ("serving_default", images[:, :0], {}, "image has no pixels"),
        ("serving_default", np.zeros((1, 80, 80, 3), np.uint8), {}, "more than 5000 pixels"),
        ("with_settings", images, own(steps=(0,)), "steps must be 1 or more, and at most 1000"),
        ("with_settings", images, own(steps=(1, 2)), "steps must be the same for all images"),
        ("with_settings", images, own(beta_max=(1.0,)), "beta_max must be 0 or more"),
        ("with_settings", images, own(n_samples=(65,)), "n_samples must be 1 or more"),
        ("with_settings", images, own(seed=(1, 2, 3)), "seed: give one value, or one for each"),
        ("encoded", [b"GIF89a"], {}, "image_bytes must be a JPEG or PNG file"),
        ("encoded", [png[:20]], {}, "image_bytes: the PNG file ends early"),
        ("encoded", [tf.io.encode_png(np.zeros((80, 80, 3), np.uint8)).numpy()], {}, "more than"),
    ):
        try:
            run(name, image, **settings)
        except tf.errors.InvalidArgumentError as error:
            assert message in str(error), (message, str(error)[:2000])
        else:
            raise AssertionError(message)
"""


def test_the_saved_model_alone_equals_python(exported, tmp_path):
    folder, deblurrer = exported
    (tmp_path / "exported").symlink_to(folder / "1")
    images = np.stack([picture(seed=1), picture(seed=2)])
    np.save(tmp_path / "in.npy", images)
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(ALONE)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ""},
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    found = np.load(tmp_path / "out.npz")

    def same(name, pixels, **settings):
        want = deblurrer.restore(pixels, **settings)
        difference = np.abs(found[name].astype(int) - want)
        assert difference.max() <= 1, name
        assert (difference > 0).mean() < 1e-3, name

    same("default", images)
    for i, seed in enumerate((7, 2**40)):
        want = deblurrer.restore(images[i], steps=3, seed=seed)
        assert np.abs(found["seeds"][i].astype(int) - want).max() <= 1
    same("means", images, n_samples=3, beta_max=0.5)
    same("dot", images[:, :1, :1])
    same("odd", images[:1, :19, :13])
    same("encoded_0", images[0])
    same("encoded_1", found["jpeg"])
    same("encoded_own", images[0], steps=3, seed=7)
    for i in range(6):
        same(f"thread_{i}", images, seed=i, beta_max=None, steps=2)
    guidance = deblurrer.prepare(images[0]).condition.guidance.predictions[0]
    assert found["guidance_scale_1"].shape == (2, 11, 9, 1)
    assert np.abs(found["guidance_scale_1"][0] - np.array(guidance)[0, :11, :9]).max() < 0.5
    about = json.loads((folder / "1" / "settings.json").read_text())
    assert about["settings"]["steps"] == 2
    assert about["max_pixels"] == MAX_PIXELS


@pytest.mark.parametrize("kind", ["L", "1", "LA", "I;16", "P", "RGB", "RGBA"])
def test_files_of_every_kind_are_decoded_as_photographs_are(kind, small, tmp_path):
    """16 bits are rounded to 8, alpha is left out, gray has three equal channels."""
    import tensorflow as tf

    from deblur_tf.image_files.reading import read_rgb
    from deblur_tf.serving.export import ExportedSampler

    color = picture(30, 26)
    gray = color.mean(axis=-1)
    deep = np.uint16(np.round(gray * 257 + np.arange(26)))
    alpha = Image.fromarray(np.uint8(gray / 2))
    made = {
        "L": Image.fromarray(np.uint8(gray)),
        "1": Image.fromarray(gray > 110),
        "LA": Image.merge("LA", [Image.fromarray(np.uint8(gray)), alpha]),
        "I;16": Image.fromarray(deep),
        "P": Image.fromarray(color).quantize(16),
        "RGB": Image.fromarray(color),
        "RGBA": Image.fromarray(np.dstack([color, np.uint8(gray)])),
    }
    path = tmp_path / "picture.png"
    made[kind].save(path)
    module = ExportedSampler(small)
    decoded = module._decoded(tf.constant(path.read_bytes())).numpy()
    np.testing.assert_array_equal(decoded, read_rgb(path))


def test_the_python_of_the_documentation(exported, tmp_path, monkeypatch):
    (tmp_path / "exported").symlink_to(exported[0])
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(blocks("In Python")[0], names)
    assert names["sharp"].shape == names["mean_of_4"].shape == (1, 48, 64, 3)


ONNX_ALONE = """
    import sys
    for name in ("tensorflow", "keras", "jax", "deblur_tf"):
        sys.modules[name] = None
    import numpy as np, onnxruntime
    given = dict(np.load("in.npz"))
    session = onnxruntime.InferenceSession(sys.argv[1])
    np.save("out.npy", session.run(None, given)[0])
"""


def run_onnx(path, folder, **given):
    """The output of an ONNX file, in a process that has onnxruntime alone."""
    pytest.importorskip("onnxruntime")
    np.savez(folder / "in.npz", **given)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(ONNX_ALONE), str(path)],
        **{"cwd": folder, "capture_output": True, "text": True, "check": False},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return np.load(folder / "out.npy")


def test_one_step_in_onnx(small, tmp_path):
    pytest.importorskip("tf2onnx")
    from deblur_tf.serving.onnx import export_onnx

    (path,) = export_onnx(small, tmp_path / "step", SamplingSettings(steps=2))
    assert path.name == "step.onnx"
    rng = np.random.default_rng(0)
    noisy = rng.standard_normal((2, 24, 32, 3)).astype("float32")
    blurry = rng.uniform(-1, 1, noisy.shape).astype("float32")
    level = np.array([0.05, 0.7], np.float32)
    found = run_onnx(path, tmp_path, noisy=noisy, blurry=blurry, noise_level=level)
    condition = small.condition(blurry)
    want = small.limit(small.denoise(noisy, level, condition).target, condition)
    np.testing.assert_allclose(found, np.array(want), atol=1e-4)


@pytest.mark.slow
def test_from_picture_to_picture_in_onnx(tmp_path, monkeypatch):
    """A blind deconvolution and a diffusion behind it, as in the model in the box."""
    pytest.importorskip("tf2onnx")
    from deblur_tf.models.restoration import Restoration
    from deblur_tf.numerics import image_ops
    from deblur_tf.serving.onnx import export_onnx

    model = deconvolved_model()
    model.build()
    randomize(model)
    sampling = SamplingSettings(steps=1, beta_max=0.9975)
    (path,) = export_onnx(model, tmp_path / "onnx", sampling)
    assert path.name == "picture.onnx"
    for size in ((24, 32), (37, 29)):
        image = np.stack([picture(*size, seed) for seed in (1, 2)])
        image[1] = image[1][..., :1]  # gray stays gray
        noise = np.random.default_rng(0).standard_normal(image.shape).astype("float32")
        found = run_onnx(path, tmp_path, image=image, noise=noise)
        blurry = image_ops.pad_to_multiple(image_ops.to_model_range(image), model.size_multiple)
        condition = model.condition(blurry)
        noisy = image_ops.pad_to_multiple(noise, model.size_multiple)
        level = np.full(2, np.sqrt(1 - 0.9975), np.float32)
        target = model.limit(model.denoise(noisy, level, condition).target, condition)
        want = Restoration(model).finish(model.to_image(target, condition), condition, *size)
        want = image_ops.to_uint8_array(np.clip(want, -1, 1))
        difference = np.abs(found.astype(int) - want)
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.02
        assert (found[1] == found[1][..., :1]).all()
    monkeypatch.chdir(tmp_path)
    Image.fromarray(picture(21, 18)).save("photo.jpg")
    exec(blocks("ONNX")[0], {})
    assert Image.open("sharp.png").size == (18, 21)


@pytest.mark.slow
def test_a_regression_model_in_onnx_takes_no_noise(tmp_path):
    pytest.importorskip("tf2onnx")
    from deblur_tf.serving.onnx import export_onnx, export_step

    alone = Regression(blind_wiener())
    alone.build()
    (path,) = export_onnx(alone, tmp_path, SamplingSettings())
    image = picture(30, 40)[None]
    want = Deblurrer(alone).restore(image, always=True)
    assert np.abs(run_onnx(path, tmp_path, image=image).astype(int) - want).max() <= 1
    with pytest.raises(UsageError, match="no denoising step"):
        export_step(alone, tmp_path)
