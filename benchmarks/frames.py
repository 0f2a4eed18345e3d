"""What bars and frames around a photograph leave of a model's gain.

  python benchmarks/frames.py

Photographs that come with scikit-image, shaken by 15 pixels, restored as they are, between black
bars, and in a white frame of an eighth of their height: PSNR inside the frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from absl import app, flags

_MODEL = flags.DEFINE_string("model", "tiny", "See deblur-evaluate.", short_name="m")
_EXTENT = flags.DEFINE_float("extent", 15.0, "Length of the shake in pixels.")


def main(argv: Sequence[str]) -> None:
    del argv
    from skimage import data

    from deblur_tf import Deblurrer
    from deblur_tf.data import blur
    from deblur_tf.metrics.psnr import psnr

    deblurrer = Deblurrer.from_pretrained(_MODEL.value)
    print("| photograph | blurred | restored | with black bars | with a white frame |")
    print("|---|---|---|---|---|")
    for name in ("astronaut", "coffee", "chelsea"):
        photo = getattr(data, name)()[..., :3]
        rng = np.random.default_rng(0)
        kernel = blur.rasterize(_EXTENT.value * blur.shake_trajectory(rng, exponent=2.0))
        blurry = np.round(np.clip(blur.convolve(photo, kernel), 0, 255)).astype(np.uint8)
        sharp = photo[blur.MARGIN : -blur.MARGIN, blur.MARGIN : -blur.MARGIN]
        n = len(blurry) // 8
        values = [psnr(blurry, sharp), psnr(deblurrer.restore(blurry, always=True), sharp)]
        for sides, level in (((n, 0), 0), ((n, n), 255)):
            pads = [(side, side) for side in sides] + [(0, 0)]
            framed = np.pad(blurry, pads, constant_values=level)
            restored = deblurrer.restore(framed, always=True)
            inside = tuple(
                slice(side, len_ - side) for side, len_ in zip(sides, framed.shape[:2], strict=True)
            )
            values.append(psnr(restored[inside], sharp))
        print(f"| {name} | {' | '.join(f'{value:.2f}' for value in values)} |", flush=True)


if __name__ == "__main__":
    app.run(main)
