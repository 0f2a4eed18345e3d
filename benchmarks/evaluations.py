r"""Quality against the number of network evaluations.

  python benchmarks/evaluations.py --photos=TEST_PHOTOS
  python benchmarks/evaluations.py -m runs/mine --photos=TEST_PHOTOS --crop=0 --steps=1,2,3

Restores photos under synthetic camera shake with each number of steps and each beta_max that is
large enough for sampling to start from noise. Prints PSNR and SSIM of one sample and of the mean of
--n_samples, beside those of the input and of the best Gaussian smoothing of each.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import app, flags

_PHOTOS = flags.DEFINE_string("photos", None, "Folder of sharp photos; None: the bundled ones.")
_MODEL = flags.DEFINE_string("model", "tiny", "As for deblur-restore.", short_name="m")
_CROP = flags.DEFINE_integer("crop", 256, "Side of the central crop; 0: whole photos.")
_STEPS = flags.DEFINE_list("steps", ["1", "2", "3", "5", "10", "20", "50"], "Numbers of steps.")
_BETA_MAX = flags.DEFINE_list(
    "beta_max", ["0.9975", "fitted"], "Tried with each of --steps; fitted: 10 / steps, at most 0.9."
)
_N_SAMPLES = flags.DEFINE_integer("n_samples", 2, "Samples to average.", short_name="n")


def main(argv: Sequence[str]) -> None:
    del argv
    from deblur_tf import metrics
    from deblur_tf.data.photos import open_photos
    from deblur_tf.diffusion.schedules import inference_beta_max
    from deblur_tf.evaluation import pairs as pair_sets
    from deblur_tf.evaluation import runner
    from deblur_tf.evaluation.subjects import Restored
    from deblur_tf.inference.deblurrer import Deblurrer

    deblurrer = Deblurrer.from_pretrained(_MODEL.value)
    pairs = pair_sets.synthetic(open_photos(_PHOTOS.value), _CROP.value)
    chosen = metrics.choose(["psnr", "ssim"])
    print(f"{deblurrer.origin}; {len(pairs)} photos, crop {_CROP.value or 'none'}")
    kinds = {"sample": "one sample", "mean": f"mean of {_N_SAMPLES.value}"}
    if _N_SAMPLES.value == 1:
        del kinds["mean"]
    print(f"| steps | beta_max | {' | '.join(kinds.values())} |\n|---|---|" + "---|" * len(kinds))
    means = {}
    for steps in map(int, _STEPS.value):
        fitted = inference_beta_max(steps)
        found = {fitted if b == "fitted" else float(b) for b in _BETA_MAX.value}
        for beta_max in sorted(b for b in found if b >= fitted):
            settings = {"steps": steps, "beta_max": beta_max, "n_samples": _N_SAMPLES.value}
            means = runner.evaluate(Restored(deblurrer, **settings), pairs, chosen).means
            cells = [f"{means[k]['psnr']:.2f} / {means[k]['ssim']:.3f}" for k in kinds]
            print(f"| {steps} | {beta_max} | {' | '.join(cells)} |", flush=True)
    for kind in ("blurry", "smoothed"):
        print(f"{kind}: {means[kind]['psnr']:.2f} / {means[kind]['ssim']:.3f}")


if __name__ == "__main__":
    app.run(main)
