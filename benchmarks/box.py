r"""What the parts of the model in the box add, and what bfloat16 changes.

  python benchmarks/box.py --pairs=GOPRO_Large/test
  python benchmarks/box.py --photos=TEST --blur=realistic

Prints the gain in PSNR of the deconvolution alone and of the whole model, seconds a picture in
float32 and in bfloat16 once compiled, their ratio, and the largest difference of the two in levels.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from absl import app, flags
from keras import ops

_PAIRS = flags.DEFINE_string("pairs", None, "Folder of blurry/sharp pairs.")
_PHOTOS = flags.DEFINE_string("photos", None, "Folder of sharp photos, to be blurred.")
_BLUR = flags.DEFINE_string("blur", "realistic", "How --photos are blurred.")


def levels(image: np.ndarray) -> np.ndarray:
    """float32 in [-1, 1] -> uint8."""
    return np.uint8(np.clip(np.round(127.5 * (image + 1.0)), 0, 255))


def main(argv: Sequence[str]) -> None:
    del argv
    from deblur_tf import Deblurrer
    from deblur_tf.base.backend import compiled
    from deblur_tf.evaluation import pairs
    from deblur_tf.metrics.psnr import psnr
    from deblur_tf.numerics.image_ops import to_model_range

    source = pairs.of(_PHOTOS.value, _PAIRS.value, blur=_BLUR.value)
    boxes = {name: Deblurrer.from_pretrained(precision=name) for name in ("fp32", "bf16")}
    model = boxes["fp32"].model
    deconvolve = compiled(model, model.deconvolution.call)
    gains, seconds, largest, shape = [], {name: [] for name in boxes}, 0, None
    for i in range(len(source)):
        pair, found = source[i], {}
        alone = deconvolve(ops.convert_to_tensor(to_model_range(pair.input[None])))
        for name, deblurrer in boxes.items():
            if pair.input.shape != shape:  # compiles
                deblurrer.samples(pair.input)
            start = time.perf_counter()
            found[name] = levels(deblurrer.samples(pair.input)[0])
            seconds[name].append(time.perf_counter() - start)
        shape = pair.input.shape
        pictures = (levels(ops.convert_to_numpy(alone)[0]), found["fp32"])
        before = psnr(pair.input, pair.sharp)
        gains.append([psnr(picture, pair.sharp) - before for picture in pictures])
        largest = max(largest, int(np.abs(found["fp32"].astype(int) - found["bf16"]).max()))
    alone, whole = np.mean(gains, axis=0)
    fp32, bf16 = (float(np.sum(times)) for times in seconds.values())
    print(f"{source.title}: deconvolution alone {alone:+.2f} dB, whole model {whole:+.2f} dB")
    print(
        f"float32 {fp32 / len(source):.2f} s, bfloat16 {bf16 / len(source):.2f} s a picture, ratio "
        f"{fp32 / bf16:.2f}; largest difference {largest} level(s)"
    )


if __name__ == "__main__":
    app.run(main)
