"""Model folders from strangers: one clear error, no code run, no memory taken."""

import io
import json
import pathlib
import pickle
import shutil
import zipfile

import numpy as np
import pytest

from deblur_tf.base.errors import ModelError
from deblur_tf.inference.description import describe
from deblur_tf.models import saved
from deblur_tf.storage import model_folders


@pytest.fixture
def box(tmp_path):
    return pathlib.Path(shutil.copytree(model_folders.pretrained_dir(), tmp_path / "box"))


def change(box, **entries):
    config = json.loads((box / "model.json").read_text())
    config.update(entries)
    (box / "model.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    return config


def refused(box, message):
    with pytest.raises(ModelError, match=message):
        saved.load_model(box)


def test_weights_of_another_model_are_told_by_their_checksum(box):
    data = bytearray((box / "weights.npz").read_bytes())
    data[len(data) // 2] ^= 1
    (box / "weights.npz").write_bytes(data)
    refused(box, r"weights\.npz: damaged, or of another model")
    change(box, weights_sha256=None)
    refused(box, r"weights\.npz: cannot be read \(Bad CRC-32")


def test_a_checksum_is_written_and_read(model, tmp_path):
    saved.save_model(model, tmp_path)
    config = json.loads((tmp_path / "model.json").read_text())
    assert len(config["weights_sha256"]) == 64
    saved.load_model(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated_weights(share, box):
    change(box, weights_sha256=None)
    data = (box / "weights.npz").read_bytes()
    (box / "weights.npz").write_bytes(data[: int(share * len(data))])
    refused(box, r"weights\.npz: cannot be read")


class Evil:
    ran = False

    def __reduce__(self):
        return (setattr, (Evil, "ran", True))


def test_a_pickle_is_not_run(box):
    change(box, weights_sha256=None)
    np.savez(box / "weights.npz", a=np.array([Evil()], dtype=object))
    refused(box, r"weights\.npz: cannot be read|smaller")
    (box / "weights.npz").write_bytes(pickle.dumps(Evil()))
    refused(box, r"weights\.npz: cannot be read")
    assert not Evil.ran


def archive(box, name, array, shape=None, compression=zipfile.ZIP_STORED):
    """An .npz with one array, whose header may lie."""
    file = io.BytesIO()
    header = {"descr": array.dtype.str, "fortran_order": False, "shape": shape or array.shape}
    np.lib.format.write_array_header_1_0(file, header)
    file.write(array.tobytes())
    with zipfile.ZipFile(box / "weights.npz", "w", compression) as out:
        out.writestr(name, file.getvalue())


def test_arrays_that_are_not_what_they_say(box):
    change(box, weights_sha256=None)
    archive(box, "a.npy", np.zeros(4, np.float32), shape=(1 << 40,))
    refused(box, r"a\.npy says that it is of shape \(1099511627776,\), and is smaller")
    archive(box, "a.npy", np.zeros(1 << 22, np.float32), compression=zipfile.ZIP_DEFLATED)
    refused(box, "would expand to 16,777,3")
    archive(box, "../../a.npy", np.zeros(4, np.float32))
    refused(box, r"weights do not fit the model")
    assert not (box.parent.parent / "a.npy").exists()


def test_a_configuration_cannot_import(box, tmp_path, monkeypatch):
    (tmp_path / "evil_module.py").write_text("raise SystemExit('ran')")
    monkeypatch.syspath_prepend(tmp_path)
    config = change(box)
    config["config"]["unet"].update(
        module="evil_module", class_name="Anything", registered_name="Anything"
    )
    change(box, config=config["config"])
    refused(box, r"names the class evil_module\.Anything")
    config["config"]["unet"].update(module="keras.layers", class_name="Lambda")
    change(box, config=config["config"])
    refused(box, r"names the class keras\.layers\.Lambda")


def test_a_configuration_cannot_take_all_memory(box):
    config = change(box)
    config["config"]["unet"]["config"]["base_channels"] = 10_000_000
    change(box, config=config["config"])
    refused(box, "base_channels is 10000000, and the weights are smaller")


@pytest.mark.parametrize(
    "text", ["", "[]", "3", "{", '{"class_name": 3}', "[" * 100_000, '{"sampling": {"steps": 0}}']
)
def test_configurations_that_are_none(text, box):
    (box / "model.json").write_text(text)
    refused(box, r"model\.json")


def test_the_description():
    text = describe("tiny")
    assert "DeconvolvedDiffusion, 4,760,911 parameters" in text
    assert "1 step(s) of ddpm" in text
    assert "# tiny: the model in the box" in text
