r"""Writes a model for serving, or as a small folder to pass on.

  deblur-export -m runs/mine -o exported/
  deblur-export -m runs/mine -o mine/ --format=weights

saved_model: a TensorFlow SavedModel of the whole sampler, with the signature
image uint8 [B, H, W, 3], steps int32, seed int64 -> restored uint8 [B, H, W, 3].
It runs on TensorFlow alone, without Keras and this package.
weights: model.json and the averaged weights in half precision; give the folder
to the other programs as --model.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from absl import flags

from deblur_tf.bin import common
from deblur_tf.files import PARTIAL

_MODEL = flags.DEFINE_string(
    "model",
    "tiny",
    "Model in the package, run directory of deblur-train or one of its checkpoints, or a "
    "model folder.",
    short_name="m",
)
_OUTPUT = flags.DEFINE_string("output", None, "Folder to write; new or empty.", short_name="o")
_FORMAT = flags.DEFINE_enum(
    "format", "saved_model", ["saved_model", "weights"], "What to write; see above."
)


def main(argv: Sequence[str]) -> int:
    del argv
    if not _OUTPUT.value:
        raise common.UsageError("-o/--output is missing")
    if os.path.isdir(_OUTPUT.value) and os.listdir(_OUTPUT.value):
        raise common.UsageError(f"{_OUTPUT.value}: not empty; give a new folder")

    from deblur_tf import model_folders

    model_folders.find(_MODEL.value)
    common.make_folder(_OUTPUT.value)
    from deblur_tf.models import saved

    model, origin, sampling, curve = saved.load_model(_MODEL.value)
    if _FORMAT.value == "weights":
        saved.save_model(model, _OUTPUT.value, sampling, curve=curve)
    else:
        from deblur_tf.serving.export import export

        # A failed export leaves nothing behind that the next one would refuse.
        partial = f"{_OUTPUT.value.rstrip('/')}{PARTIAL}"
        shutil.rmtree(partial, ignore_errors=True)
        try:
            export(model, partial, sampling)
            if os.path.isdir(_OUTPUT.value):
                os.rmdir(_OUTPUT.value)
            os.replace(partial, _OUTPUT.value)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    print(f"{origin} -> {_OUTPUT.value}")
    return common.OK


def entry() -> None:
    common.run(main, __doc__)


if __name__ == "__main__":
    entry()
