r"""Writes a model for serving, or as a small folder to pass on.

  deblur-export -m runs/mine -o exported/
  deblur-export -m runs/mine -o mine/ --format=weights --curve=results/grid.csv

saved_model: exported/<version>, a TensorFlow SavedModel of the whole sampler that runs on
TensorFlow alone, without Keras and this package; the versions are what TensorFlow Serving
looks for. Signatures: serving_default (image uint8 [B, H, W, 3] -> restored), encoded
(image_bytes, JPEG or PNG files -> restored_bytes, PNG files), each also _with_settings
(seed, steps, beta_max, n_samples), and guidance. See docs/serving.md.
onnx: picture.onnx, which restores pictures without TensorFlow, if the model takes one step, as the
one in the package does; otherwise step.onnx, one denoising step. Needs the extra "onnx".
weights: model.json and the averaged weights in half precision; give the folder
to the other programs as --model. --curve adds a measured curve, for --fidelity.
"""

from __future__ import annotations

import importlib.util
import pathlib
from collections.abc import Sequence
from typing import Any

from absl import flags

from deblur_tf.base.files import PARTIAL
from deblur_tf.bin import common

_MODEL = flags.DEFINE_string(
    "model",
    "tiny",
    "Model in the package, run directory of deblur-train or one of its checkpoints, or a "
    "model folder.",
    short_name="m",
)
_OUTPUT = flags.DEFINE_string("output", None, "Folder to write to.", short_name="o")
_FORMAT = flags.DEFINE_enum(
    "format", "saved_model", ["saved_model", "onnx", "weights"], "What to write; see above."
)
_MAX_PIXELS = flags.DEFINE_integer(
    "max_pixels",
    None,
    "saved_model: largest accepted picture in pixels. Default: 4,000,000, less for models of "
    "latents.",
    lower_bound=1,
)
_WARM_UP = flags.DEFINE_list(
    "warm_up",
    [],
    "saved_model: sizes such as 1280x720,640x480 of which a server restores a picture before it "
    "says that it is ready; needs the extra serving.",
)
_WEIGHTS = flags.DEFINE_enum(
    "weights",
    "ema",
    ["ema", "raw"],
    "Of a run: the averages of the weights over its steps, or the weights of its last step.",
)
_PRECISION = flags.DEFINE_enum(
    "precision",
    "fp32",
    ["auto", "fp32", "bf16"],
    "saved_model: number format of the networks. bf16 changes a picture by a level or two of 255.",
)
_CURVE = flags.DEFINE_string(
    "curve", None, "weights: grid.csv of deblur-evaluate, from which the curve is taken."
)
_PERCEPTION = flags.DEFINE_string(
    "perception", "niqe", "weights: column of --curve for perception; lower is better."
)
flags.declare_key_flag("import")


def _curve() -> Any:
    """The measured curve of --curve.

    Raises:
      UsageError: if the file or its columns are not there.
    """
    from deblur_tf.evaluation.grid import read_curve

    try:
        return read_curve(common.value_of(_CURVE), _PERCEPTION.value)
    except (OSError, ValueError, KeyError) as error:
        raise common.UsageError(f"{_CURVE.value}: no curve in it ({error})") from error


def _warm_up() -> list[tuple[int, int]]:
    """The sizes of --warm_up.

    Raises:
      UsageError: if one is not WIDTHxHEIGHT.
    """
    sizes = []
    for size in _WARM_UP.value:
        numbers = size.lower().split("x")
        if len(numbers) != 2 or not all(n.isdecimal() and int(n) > 0 for n in numbers):
            raise common.UsageError(f"--warm_up={size}: give sizes in pixels, such as 1280x720")
        sizes.append((int(numbers[0]), int(numbers[1])))
    if sizes and importlib.util.find_spec("tensorflow_serving") is None:
        raise common.UsageError("--warm_up needs tensorflow-serving-api: pip install '.[serving]'")
    return sizes


def main(argv: Sequence[str]) -> int:
    del argv
    if not _OUTPUT.value:
        raise common.UsageError("-o/--output is missing")
    common.refuse_flags(
        _FORMAT.value,
        {
            "saved_model": ("max_pixels", "precision", "warm_up"),
            "onnx": (),
            "weights": ("curve", "perception"),
        },
    )
    versions, warm_up = _FORMAT.value == "saved_model", _warm_up()

    from deblur_tf.storage import model_folders

    if not versions and model_folders.has_other_files(_OUTPUT.value):
        raise common.UsageError(f"{_OUTPUT.value}: not empty; give a new folder")
    model_folders.find(_MODEL.value)
    given = _curve() if _CURVE.value else None
    common.make_folder(_OUTPUT.value, alone=True)
    import keras

    from deblur_tf.models import saved

    if _FORMAT.value != "weights" and keras.backend.backend() != "tensorflow":
        raise common.UsageError(
            f"--format={_FORMAT.value} needs KERAS_BACKEND=tensorflow, which also reads what was "
            f"trained on {keras.backend.backend()}"
        )
    common.import_modules()
    model, origin, sampling, curve = saved.load_model(
        _MODEL.value,
        _PRECISION.value if _FORMAT.value == "saved_model" else None,
        _WEIGHTS.value,
    )
    target = pathlib.Path(_OUTPUT.value)
    for left in () if versions else target.glob(f"*{PARTIAL}"):  # by an interrupted export
        left.unlink(missing_ok=True)
    if _FORMAT.value == "weights":
        saved.save_model(model, target, sampling, curve=given or curve)
    elif _FORMAT.value == "onnx":
        from deblur_tf.serving.onnx import export_onnx

        (target,) = export_onnx(model, target, sampling)
    else:
        from deblur_tf.serving.export import export

        try:
            target = export(model, target, sampling, _MAX_PIXELS.value, warm_up)
        except FileExistsError as error:
            raise common.UsageError(str(error)) from error
    print(f"{origin} -> {target}")
    return common.OK


def entry() -> None:
    common.run(main, __doc__)


if __name__ == "__main__":
    entry()
