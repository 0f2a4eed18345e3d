r"""Fits and measures the score that tells sharp photographs from blurred ones.

  python benchmarks/triage.py --train=PHOTOS --test=OTHER_PHOTOS --pairs=GOPRO_Large/test

Fits a classifier of sharp photographs against the same photographs under camera shake of 10, 20
and 30 pixels with noise. Prints the constants of `deblur_tf/inference/triage.py`, fitted on the
--train folder, and the share of photographs of each kind that are left alone; milder shake of 4
pixels, defocus and genuine pairs are measured, but not fitted on.

  python benchmarks/triage.py --model=tiny --test=OTHER_PHOTOS --pairs=GOPRO_Large/test

With --model it restores the pairs and the photographs, blurred in three ways. For several
thresholds on the growth of the middle frequency bands it prints how many restorations that gain
PSNR would be judged no sharper, and how many that lose PSNR would be judged sharper.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from absl import app, flags

_TRAIN = flags.DEFINE_string("train", None, "Folder of sharp photographs to fit on.")
_TEST = flags.DEFINE_string("test", None, "Folder of other sharp photographs to measure on.")
_PAIRS = flags.DEFINE_string("pairs", None, "Folder of genuine blurry/sharp pairs to measure on.")
_BLURRED = flags.DEFINE_string("blurred", None, "Folder of really blurred photographs.")

_MODEL = flags.DEFINE_string("model", None, "Calibrate by the results of this model.")

EXTENTS = (4.0, 10.0, 20.0, 29.9)
FITTED = ("10 px", "20 px", "29.9 px")


def kinds_of(folder: str) -> dict[str, list[np.ndarray]]:
    """Features of the photographs of a folder, sharp and blurred, by kind."""
    from scipy import ndimage

    from deblur_tf.data import blur
    from deblur_tf.data.photos import open_photos
    from deblur_tf.evaluation.pairs import centre_crop
    from deblur_tf.inference import triage

    found = defaultdict(list)
    photos = open_photos(folder)

    def add(kind: str, image: np.ndarray) -> None:
        pixels = np.round(np.clip(image, 0, 255)).astype(np.uint8)
        found[kind].append(triage.features(triage.gray_of(pixels)))

    for i in range(len(photos)):
        photo = centre_crop(photos[i], 512 + 30)
        rng = np.random.default_rng((5, i))
        add("sharp", photo[15:-15, 15:-15])
        for extent in EXTENTS:
            path = extent * blur.shake_trajectory(rng, exponent=rng.uniform(*blur.EXPONENTS))
            shaken = blur.convolve(photo, blur.rasterize(path))
            add(f"{extent:g} px", blur.add_noise(shaken, rng, mildness=2.0))
        smooth = ndimage.gaussian_filter(photo.astype(np.float32), (3, 3, 0))
        add("defocus", smooth[15:-15, 15:-15])
    return found


def fit(positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A logistic regression: means and standard deviations of features, weights with bias last."""
    from scipy.optimize import minimize

    x = np.concatenate([positive, negative])
    y = np.r_[np.ones(len(positive)), -np.ones(len(negative))]
    share = np.where(y > 0, 0.5 / len(positive), 0.5 / len(negative))
    means, stddevs = x.mean(axis=0), x.std(axis=0)
    z = np.c_[(x - means) / stddevs, np.ones(len(x))]

    def loss(weights: np.ndarray) -> float:
        fits = np.logaddexp(0.0, -y * (z @ weights))
        return float((share * fits).sum() + 1e-3 * np.square(weights[:-1]).sum())

    return means, stddevs, minimize(loss, np.zeros(z.shape[1])).x


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
    from deblur_tf.data.photos import open_photos
    from deblur_tf.evaluation import pairs
    from deblur_tf.inference import triage

    learned = kinds_of(_TRAIN.value)
    blurred = np.concatenate([learned[kind] for kind in FITTED])
    means, stddevs, weights = fit(np.array(learned["sharp"]), blurred)
    for name, values in (("_MEANS", means), ("_STDDEVS", stddevs), ("_WEIGHTS", weights)):
        print(f"{name} = np.array([{', '.join(f'{v:.4g}' for v in values)}])")

    kinds = {f"test, {kind}": rows for kind, rows in kinds_of(_TEST.value).items()}
    images: dict[str, list[np.ndarray]] = defaultdict(list)
    if _PAIRS.value:
        for pair in map(pairs.folder(_PAIRS.value).__getitem__, range(6)):
            images["pairs, blurry"].append(pair.blurry)
            images["pairs, sharp"].append(pair.sharp)
    if _BLURRED.value:
        photos = open_photos(_BLURRED.value)
        images["really blurred"] = [photos[i] for i in range(len(photos))]
    for kind, found in images.items():
        kinds[kind] = [triage.features(triage.gray_of(image)) for image in found]
    print("| photographs | number | median score | left alone |\n|---|---|---|---|")
    for kind, rows in kinds.items():
        z = (np.array(rows) - means) / stddevs
        scores = 1.0 / (1.0 + np.exp(-(z @ weights[:-1] + weights[-1])))
        alone = np.mean(scores >= triage.SHARP)
        print(f"| {kind} | {len(rows)} | {np.median(scores):.2f} | {alone:.0%} |")


if __name__ == "__main__":
    app.run(main)
