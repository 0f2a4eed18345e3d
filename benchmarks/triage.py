r"""Fits and measures the score that tells sharp photographs from blurred ones.

  python benchmarks/triage.py --train=PHOTOS --test=OTHER_PHOTOS --pairs=GOPRO_Large/test

Fits a classifier of sharp pictures against the same pictures under camera shake, writes it to
`deblur_tf/inference/triage.json`, and prints the share of pictures of each kind that are left
alone. The pictures are the --train photographs, the same a little softened or under realistic blur,
and generated text, screenshots, drawings and lights at night. Milder shake of 4 pixels, defocus,
moving objects, genuine pairs and really blurred photographs are measured, but not fitted on.

  python benchmarks/triage.py --model=tiny --test=OTHER_PHOTOS --pairs=GOPRO_Large/test

With --model it restores the pairs and the photographs, blurred in three ways. For several
thresholds on the growth of the middle frequency bands it prints how many restorations that gain
PSNR would be judged no sharper, and how many that lose PSNR would be judged sharper.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import scenes
from absl import app, flags

_TRAIN = flags.DEFINE_string("train", None, "Folder of sharp photographs to fit on.")
_TEST = flags.DEFINE_string("test", None, "Folder of other sharp photographs to measure on.")
_PAIRS = flags.DEFINE_string("pairs", None, "Folder of genuine blurry/sharp pairs to measure on.")
_BLURRED = flags.DEFINE_string("blurred", None, "Folder of really blurred photographs.")

_MODEL = flags.DEFINE_string("model", None, "Calibrate by the results of this model.")

EXTENTS = (4.0, 10.0, 20.0, 29.9)
SIDE = 512
PHOTO_BLUR = ("10 px", "20 px", "29.9 px", "realistic blur")
BLURRED = 28.0  # a realistic pair with a lower PSNR than this counts as blurred


def pictures_of(folder: str, seed: int) -> dict[str, list[np.ndarray]]:
    """Photographs of a folder and generated pictures, sharp and blurred: uint8, by kind."""
    from scipy import ndimage

    from deblur_tf.data import blur, sensor
    from deblur_tf.data.blur import MARGIN
    from deblur_tf.data.photos import open_photos
    from deblur_tf.data.realistic import RealisticBlur
    from deblur_tf.evaluation.pairs import centre_crop
    from deblur_tf.metrics.psnr import psnr

    found: dict[str, list[np.ndarray]] = defaultdict(list)
    photos = open_photos(folder)
    crops = [centre_crop(photos[i], SIDE) for i in range(len(photos))]
    realistic = RealisticBlur()
    crops = [crop for crop in crops if crop.shape[:2] == (SIDE, SIDE)]
    inner = slice(MARGIN, -MARGIN)
    for i, photo in enumerate(crops):
        rng = np.random.default_rng((seed, i))
        values = photo.astype(np.float32)
        found["sharp"].append(photo[inner, inner])
        soft = ndimage.gaussian_filter(values, (*[rng.uniform(0.5, 0.95)] * 2, 0))[inner, inner]
        soft = scenes.stored(soft + rng.normal(0, rng.uniform(0, 2), soft.shape))
        found["slightly soft"].append(sensor.compressed(soft, int(rng.integers(75, 98))))
        for extent in EXTENTS:
            path = extent * blur.shake_trajectory(rng, exponent=rng.uniform(*blur.EXPONENTS))
            shaken = blur.convolve(photo, blur.rasterize(path))
            noisy = scenes.stored(blur.add_noise(shaken, rng, mildness=2.0))
            found[f"{extent:g} px"].append(noisy)
        smooth = ndimage.gaussian_filter(values, (3, 3, 0))
        found["defocus"].append(scenes.stored(smooth[inner, inner]))
        side = SIDE if i % 2 == 0 else 300  # smaller pictures too
        for kind, make in scenes.SCENES.items():
            picture = make(side, rng, values)
            found[f"{kind}, sharp"].append(scenes.stored(picture)[inner, inner])
            for extent in (10.0, 20.0):
                found[f"{kind}, {extent:g} px"].append(scenes.shaken(picture, extent, rng))
        pair = realistic.pair([photos[i]], (SIDE - 2 * MARGIN,) * 2, rng)
        if psnr(*pair) < BLURRED:
            found["realistic blur"].append(pair[0])
        other = crops[(i + 1) % len(crops)].astype(np.float32)
        found["moving object"].append(scenes.moving(photo, other, rng))
    return found


def features_of(kinds: dict[str, list[np.ndarray]]) -> dict[str, np.ndarray]:
    """Features of each picture, by kind."""
    from deblur_tf.inference import triage

    return {
        kind: np.array([triage.features(triage.gray_of(image)) for image in images])
        for kind, images in kinds.items()
    }


def fit(rows: dict[str, np.ndarray], penalty: float = 3e-3) -> dict[str, list[float]]:
    """A logistic regression on the features and their products: what `triage.json` holds.

    Photographs have half of the weight of each side, the generated kinds the rest.
    """
    from scipy.optimize import minimize

    from deblur_tf.inference import triage

    positive = ["sharp", *(k for k in rows if k.endswith(", sharp") or k == "slightly soft")]
    negative = [k for k in rows if k.endswith((" px", "realistic blur")) and k != "4 px"]
    parts, labels, shares = [], [], []
    for kinds, label, photographs in ((positive, 1, ("sharp",)), (negative, -1, PHOTO_BLUR)):
        for kind in kinds:
            own = kind in photographs
            count = len(photographs) if own else len(kinds) - len(photographs)
            parts.append(rows[kind])
            labels += [label] * len(rows[kind])
            shares += [0.5 / count / len(rows[kind])] * len(rows[kind])
    x, y, share = np.concatenate(parts), np.array(labels, float), np.array(shares)
    means, stddevs = x.mean(axis=0), x.std(axis=0)
    z = triage.expanded((x - means) / stddevs)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        margin = y * (z @ weights)
        slope = -y * share / (1.0 + np.exp(margin))
        value = (share * np.logaddexp(0.0, -margin)).sum() + penalty * (weights[:-1] ** 2).sum()
        return float(value), z.T @ slope + 2 * penalty * np.r_[weights[:-1], 0.0]

    start = np.zeros(z.shape[1])
    weights = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 3000}).x
    values = {"means": means, "stddevs": stddevs, "weights": weights}
    return {name: [float(f"{v:.5g}") for v in found] for name, found in values.items()}


def calibrate() -> None:
    """Prints PSNR gains and growths of middle bands, and the errors of several thresholds."""
    from deblur_tf import Deblurrer
    from deblur_tf.data.photos import open_photos
    from deblur_tf.evaluation import pairs
    from deblur_tf.inference import triage
    from deblur_tf.metrics.psnr import psnr

    deblurrer = Deblurrer.from_pretrained(_MODEL.value)
    photos = open_photos(_TEST.value)
    sets = [pairs.synthetic(photos, 512, 0, blur) for blur in ("realistic", "shake10", "shake20")]
    sets += [pairs.folder(_PAIRS.value)] if _PAIRS.value else []
    rows = []
    for found in sets:
        own = []
        for i in range(len(found)):
            pair = found[i]
            restored = deblurrer.restore(pair.blurry, always=True)
            gain = psnr(restored, pair.sharp) - psnr(pair.blurry, pair.sharp)
            own.append((gain, triage.growth(pair.blurry, restored)))
        gains, growth = np.array(own).T
        print(
            f"{found.title}: gain {gains.mean():.2f} dB ({gains.min():.2f} to {gains.max():.2f}), "
            f"growth {np.median(growth):.2f} ({growth.min():.2f} to {growth.max():.2f})",
            flush=True,
        )
        rows += own
    gains, growth = np.array(rows).T
    gained, lost = gains > 0.1, gains < -0.1
    print("| threshold | gained, left as they were | lost, restored |\n|---|---|---|")
    for threshold in (0.0, 0.01, 0.02, 0.03, 0.05, 0.1):
        left = growth < threshold
        print(
            f"| {threshold} | {np.sum(gained & left)} of {gained.sum()} "
            f"| {np.sum(lost & ~left)} of {lost.sum()} |"
        )


def main(argv: Sequence[str]) -> None:
    del argv
    if _MODEL.value:
        return calibrate()
    from importlib import resources
    from pathlib import Path

    from deblur_tf.data.photos import open_photos
    from deblur_tf.evaluation import pairs
    from deblur_tf.inference import triage

    target = Path(str(resources.files("deblur_tf.inference") / triage.FILE))
    if _TRAIN.value:
        fitted = fit(features_of(pictures_of(_TRAIN.value, 5)))
        target.write_text(json.dumps(fitted) + "\n", encoding="utf-8")
    kinds = pictures_of(_TEST.value, 6)
    if _PAIRS.value:
        for pair in map(pairs.folder(_PAIRS.value).__getitem__, range(6)):
            kinds["GoPro pairs, blurry"].append(pair.blurry)
            kinds["GoPro pairs, sharp"].append(pair.sharp)
    if _BLURRED.value:
        photos = open_photos(_BLURRED.value)
        kinds["really blurred"] = [photos[i] for i in range(len(photos))]
    print("| pictures | number | median score | left alone |\n|---|---|---|---|")
    for kind, rows in features_of(kinds).items():
        scores = triage.score(rows)
        alone = np.mean(scores >= triage.SHARP)
        print(f"| {kind} | {len(rows)} | {np.median(scores):.2f} | {alone:.0%} |")


if __name__ == "__main__":
    app.run(main)
