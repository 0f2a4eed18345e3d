"""Number formats of stored models: what bf16 changes, and where it is chosen."""

import numpy as np
import pytest

from deblur_tf.base.errors import UsageError
from deblur_tf.inference.deblurrer import Deblurrer
from deblur_tf.models import precision, saved
from tests.support.models import small_model

# Largest and mean difference, in levels of 255, that bfloat16 may make with the model in the box.
LARGEST, MEAN = 2, 0.25


@pytest.fixture(scope="module")
def boxes():
    return {name: Deblurrer.from_pretrained(precision=name) for name in ("fp32", "bf16")}


def test_bf16_changes_the_model_in_the_box_by_less_than_its_bound(boxes, photos):
    photo = photos[0][:256, :320].astype(np.float32)
    blurry = np.round(sum(photo[:, i : i + 300] for i in range(0, 18, 2)) / 9).astype(np.uint8)
    found = {name: np.round(127.5 * d.samples(blurry)[0]) for name, d in boxes.items()}
    difference = np.abs(found["fp32"] - found["bf16"])
    assert 0 < difference.max() <= LARGEST
    assert difference.mean() < MEAN
    # The pictures differ from the input by far more.
    assert np.abs(found["fp32"] + 127.5 - blurry).mean() > 10 * MEAN


def test_heads_and_samplers_stay_in_float32(boxes):
    model = boxes["bf16"].model
    assert boxes["bf16"].precision == "bf16"
    assert boxes["fp32"].precision == "fp32"
    assert model.unet.compute_dtype == "bfloat16"
    assert model.unet.conv_out.compute_dtype == "float32"
    assert {v.dtype for v in model.variables} == {"float32"}
    assert boxes["bf16"].fingerprint() == boxes["fp32"].fingerprint()


def test_a_model_keeps_the_format_of_its_training_unless_told_otherwise(tmp_path):
    model = small_model()
    model.build()
    saved.save_model(model, tmp_path)
    assert precision.precision_of(saved.load_model(tmp_path).model) == "fp32"
    loaded = saved.load_model(tmp_path, "bf16").model
    assert precision.precision_of(loaded) == "bf16"
    assert saved.same_architecture(loaded, small_model)  # formats are no part of it
    with pytest.raises(UsageError, match="fp16.*give one of auto, fp32, bf16"):
        saved.load_model(tmp_path, "fp16")


@pytest.mark.parametrize(
    ("flags", "backend", "devices", "want"),
    [
        ("avx2 avx512_bf16", "tensorflow", ["cpu:0"], "bf16"),
        ("amx_bf16", "tensorflow", ["cpu:0"], "bf16"),
        ("avx2 avx512f", "tensorflow", ["cpu:0"], None),
        ("avx512_bf16", "jax", ["cpu:0"], None),
        ("avx512_bf16", "tensorflow", ["cpu:0", "gpu:0"], None),
    ],
)
def test_auto_is_bf16_where_that_is_faster(flags, backend, devices, want, monkeypatch):
    monkeypatch.setattr(precision.keras.distribution, "list_devices", lambda: devices)
    monkeypatch.setattr(precision.keras.backend, "backend", lambda: backend)
    text = f"processor : 0\nflags\t\t: {flags}\n"
    monkeypatch.setattr(precision.pathlib.Path, "read_text", lambda *args, **kwargs: text)
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    assert precision.resolved("auto") == want
