r"""A DeblurDiff's upper bound and its predictor's estimates during sampling; a table and a picture.

  python benchmarks/latents.py --photos=PHOTOS -m RUN -o structures.jpg

The sharp image, encoded and decoded by the autoencoder, is the upper bound of every result. z^s,
the predictor's estimate, is decoded at some of the steps (the paper's Figure 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from absl import app, flags

_PHOTOS = flags.DEFINE_string("photos", None, "Folder of sharp photos.")
_CROP = flags.DEFINE_integer("crop", 256, "Side of the central crops.")
_LIMIT = flags.DEFINE_integer("limit", 8, "Number of photos.")
_ROWS = flags.DEFINE_integer("rows", 4, "Number of photos in the picture.")
_MODEL = flags.DEFINE_string("model", None, "See deblur-restore.", short_name="m", required=True)
_STEPS = flags.DEFINE_integer("steps", 50, "Sampling steps.")
_SHOWN = flags.DEFINE_list("shown", ["1", "13", "25", "38", "50"], "Steps at which z^s is decoded.")
_OUTPUT = flags.DEFINE_string("output", None, "File of the picture, PNG or JPEG.", short_name="o")


def main(argv: Sequence[str]) -> None:
    del argv
    import numpy as np
    from PIL import Image

    from deblur_tf.base.backend import compiled
    from deblur_tf.data.photos import open_photos
    from deblur_tf.diffusion.samplers import ddpm
    from deblur_tf.evaluation import pairs
    from deblur_tf.evaluation.sheets import picture_sheet
    from deblur_tf.metrics.psnr import psnr
    from deblur_tf.models import saved
    from deblur_tf.models.deblurdiff import DeblurDiff
    from deblur_tf.models.restoration import Restoration, sample_keys
    from deblur_tf.numerics import image_ops

    loaded = saved.load_model(_MODEL.value)
    model = loaded.model
    if not isinstance(model, DeblurDiff) or model.predictor is None:
        raise app.UsageError(f"{_MODEL.value}: not a DeblurDiff with a predictor")

    shown = [int(step) for step in _SHOWN.value]
    found: list[Any] = []  # z^s at the steps that are shown

    class Recorded(Restoration):
        """Records z^s at the steps in `shown`."""

        def __init__(self) -> None:
            super().__init__(model)
            step = self._compiled_body
            estimates = compiled(model, lambda *noisy: model.estimates(*noisy)[1])

            def recorded(t: Any, row: Any, carry: Any, given: Any) -> Any:
                if schedule.steps - int(t) + 1 in shown:
                    found.append(estimates(carry[0], row[ddpm.NOISE_LEVEL][None], given[0]))
                return step(t, row, carry, given)

            self._compiled_body = recorded

    source = pairs.synthetic(open_photos(_PHOTOS.value), _CROP.value)
    schedule = loaded.sampling.but(_STEPS.value).schedule(model.schedule_kind)
    if shown != sorted(set(shown) & set(range(1, schedule.steps + 1))):
        raise app.UsageError(f"--shown must be increasing, from 1 to at most {schedule.steps}")
    restoration, decode = Recorded(), compiled(model, model.vae.decode)
    titles = ["blurry", *(f"z^s, step {step}" for step in shown), "restored", "round trip", "sharp"]
    rows, figures = [], []
    for i in range(min(_LIMIT.value, len(source))):
        pair = source[i]
        sharp, blurry = (image_ops.to_model_range(x[None]) for x in (pair.sharp, pair.blurry))
        found.clear()
        keys = sample_keys(0, [i])
        prepared = restoration.prepare(blurry, keys)
        restored = restoration.sample(prepared, keys, schedule, lambda done: None)
        whole = decode(model.vae.encode(sharp))
        images = [*(decode(z) for z in found), restored, whole]
        size = pair.sharp.shape
        pictures = [np.array(image_ops.to_uint8(x))[0, : size[0], : size[1]] for x in images]
        rows.append([pair.blurry, *pictures, pair.sharp])
        figures.append([psnr(pair.sharp, x) for x in rows[-1][:-1]])
    print(f"| {len(rows)} {source.title}, crop {_CROP.value} | PSNR (dB) |")
    print("|---|---|")
    for title, mean in zip(titles, np.mean(figures, axis=0), strict=False):
        print(f"| {title} | {mean:.2f} |")
    if _OUTPUT.value:
        sheet: Image.Image = picture_sheet(rows[: _ROWS.value], titles)
        sheet.save(_OUTPUT.value)


if __name__ == "__main__":
    app.run(main)
