r"""Time and memory of a sampling grid: blurry and sharp pictures measured once, or at each point.

  python benchmarks/grid.py --pairs=GOPRO_Large/test --crop=512

Both variants measure the model in the box at the same points, each in a process of its own.
"""

import concurrent.futures
import multiprocessing
import resource
import tempfile
import time

from absl import app, flags

_PAIRS = flags.DEFINE_string("pairs", None, "Folder of blurry/sharp pairs.", required=True)
_CROP = flags.DEFINE_integer("crop", 0, "Side of the central crop in pixels; 0: whole images.", 0)
_POINTS = flags.DEFINE_integer("points", 19, "Points of the grid.", 1)
_STEPS = flags.DEFINE_integer("steps", 1, "Sampling steps of each point.", 1)
_WEIGHTS = flags.DEFINE_string("metric_weights", None, "Folder of metric weights.")
_METRICS = ("psnr", "ssim", "ssim_matlab", "niqe")


def measured(once: bool, root: str, crop: int, points: int, steps: int, weights: str | None):
    """Seconds, and the process's peak of memory in GiB, of one variant."""
    from deblur_tf import metrics
    from deblur_tf.evaluation import pairs, runner
    from deblur_tf.evaluation.features import MeasuredOnce
    from deblur_tf.evaluation.report import Report
    from deblur_tf.evaluation.subjects import Restored
    from deblur_tf.inference.deblurrer import Deblurrer

    chosen = metrics.choose(_METRICS, weights, lambda name, why: None)
    source, deblurrer = pairs.folder(root, crop), Deblurrer.from_pretrained()
    kept = MeasuredOnce() if once else None
    deblurrer.samples(source[0].input, steps=steps)  # compiles
    start = time.perf_counter()
    for i in range(points):
        subject = Restored(deblurrer, seed=i, steps=steps)
        with tempfile.TemporaryDirectory() as folder:
            runner.evaluate(subject, source, chosen, Report(folder, {}, chosen), once=kept)
    seconds = time.perf_counter() - start
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, len(source)


def main(argv):
    del argv
    found = {}
    for once in (False, True):
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
            settings = (_PAIRS.value, _CROP.value, _POINTS.value, _STEPS.value, _WEIGHTS.value)
            found[once] = pool.submit(measured, once, *settings).result()
        seconds, memory, count = found[once]
        how = "once" if once else "at each point"
        print(f"{how}: {count} pairs, {seconds:.0f} s, {memory:.2f} GiB", flush=True)
    print(f"ratio of times {found[False][0] / found[True][0]:.2f}")


if __name__ == "__main__":
    app.run(main)
