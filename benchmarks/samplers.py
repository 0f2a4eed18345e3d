r"""Quality against the number of network evaluations, for each sampler; a table and a plot.

  python benchmarks/samplers.py --photos=PHOTOS --crop=256 -o samplers.png

Photos are blurred by camera shake; with --pairs genuine pairs are measured. NIQE needs
its statistics (--metric_weights). Heun's method takes two evaluations per step, except one for
the last, so it is given about half as many steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from absl import app, flags

_PHOTOS = flags.DEFINE_string("photos", None, "Folder of sharp photos.")
_PAIRS = flags.DEFINE_string("pairs", None, "Folder of blurry/sharp pairs.")
_CROP = flags.DEFINE_integer("crop", 256, "Side of the central crops; 0 for whole images.")
_LIMIT = flags.DEFINE_integer("limit", 0, "Use only this number of images; 0: all.")
_MODEL = flags.DEFINE_string("model", "tiny", "See deblur-evaluate.", short_name="m")
_EVALUATIONS = flags.DEFINE_list("evaluations", ["1", "2", "3", "5", "10", "20", "50"], "Numbers.")
_SAMPLERS = flags.DEFINE_list("samplers", [], "Names of samplers; default: all.")
_WEIGHTS = flags.DEFINE_string("metric_weights", None, "Folder of metric weights.")
_OUTPUT = flags.DEFINE_string("output", None, "PNG of the plot.", short_name="o")


def steps_of(sampler: Any, evaluations: int) -> int | None:
    """The largest number of steps that needs at most `evaluations` network evaluations.

    None if up to five evaluations cannot be met exactly.
    """
    steps = max(n for n in range(1, evaluations + 1) if sampler.evaluations(n) <= evaluations)
    return steps if sampler.evaluations(steps) == evaluations or evaluations > 5 else None


def main(argv: Sequence[str]) -> None:
    del argv
    from deblur_tf import metrics
    from deblur_tf.data.photos import open_photos
    from deblur_tf.diffusion.samplers import SAMPLERS
    from deblur_tf.evaluation import pairs, runner
    from deblur_tf.evaluation.subjects import Restored
    from deblur_tf.inference.deblurrer import Deblurrer

    if _PAIRS.value:
        source = pairs.folder(_PAIRS.value, _CROP.value)
    else:
        source = pairs.synthetic(open_photos(_PHOTOS.value), _CROP.value)
    chosen = metrics.choose(
        ["psnr", "ssim", "niqe"], _WEIGHTS.value, lambda name, why: print(f"{name}: {why}")
    )
    deblurrer = Deblurrer.from_pretrained(_MODEL.value)
    count = min(_LIMIT.value or len(source), len(source))
    print(f"{deblurrer.origin}; {count} {source.title}, crop {_CROP.value or 'none'}")
    print(f"| sampler | evaluations | {' | '.join(m.label for m in chosen)} |")
    print("|---" * (2 + len(chosen)) + "|")
    found: list[dict[str, Any]] = []
    means: dict[str, Any] = {}
    for name in _SAMPLERS.value or SAMPLERS:
        for count in map(int, _EVALUATIONS.value):
            sampler = SAMPLERS[name]()
            steps = steps_of(sampler, count)
            if steps is None:
                continue
            subject = Restored(deblurrer, sampler=name, steps=steps)
            means = runner.evaluate(subject, source, chosen, limit=_LIMIT.value).means
            taken = sampler.evaluations(steps)
            found.append({"sampler": name, "evaluations": taken, **means["sample"]})
            cells = " | ".join(f"{means['sample'][m.name]:.{m.digits}f}" for m in chosen)
            print(f"| {name} | {taken} | {cells} |", flush=True)
    for kind in ("blurry", "smoothed", "sharp"):
        cells = (
            f"{means[kind][m.name]:.{m.digits}f}" if m.name in means[kind] else "" for m in chosen
        )
        print(f"| {kind} | | {' | '.join(cells)} |")
    if _OUTPUT.value:
        plot(_OUTPUT.value, found, chosen, means)


def plot(path: str, found: Sequence[dict[str, Any]], chosen: Sequence[Any], means: Any) -> None:
    """A panel for each metric, a line for each sampler, the input as a dotted line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * len(chosen), 3.6), layout="constrained")
    axes = figure.subplots(1, len(chosen), squeeze=False)[0]
    for axis, metric in zip(axes, chosen, strict=True):
        for name in dict.fromkeys(row["sampler"] for row in found):
            rows = [row for row in found if row["sampler"] == name]
            xs, ys = [r["evaluations"] for r in rows], [r[metric.name] for r in rows]
            axis.plot(xs, ys, marker="o", markersize=3, linewidth=1, label=name)
        axis.axhline(means["blurry"][metric.name], color="gray", linestyle=":", label="input")
        axis.set(xscale="log", xlabel="network evaluations", ylabel=metric.label)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=7)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    app.run(main)
