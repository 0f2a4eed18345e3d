r"""Analyses a model, as the papers' figures do.

  deblur-analyze spaces --first=GOPRO_Large/test --second=RealBlur_J/test -m RUN -o out/
  deblur-analyze guidance --pairs=my_pairs -m RUN -o out/
  deblur-analyze residual --pairs=my_pairs -m RUN -o out/
  deblur-analyze diversity --photos=my_sharp_photos -n 8 -o out/
  deblur-analyze residual --gin_file=papers/dvsr/figure6/residual.gin -m RUN -o out/
  deblur-analyze kernels -o out/
  deblur-analyze means results/gopro results/hide results/reds
  deblur-analyze compare ours=results/ours theirs=results/theirs --crop=128 -o out/
  deblur-analyze grids residual=results/a direct=results/b -o out/

spaces: FID and KID between two sets of blurry pictures as they are, downsampled, and as the
guidance network predicts them (icDPM Table 1).
guidance: input and prediction of the guidance network, and its features' principal
components as colours (icDPM fig. 4 and 9).
residual: the first prediction of a predict-and-refine model, its residual, and the
entropy of residuals compared with that of the sharp pictures (DvSR fig. 3, sec. 6.1).
diversity: standard deviation of each pixel over samples, and the diversity of each picture
against its sharpness (DvSR fig. 5 and 8).
kernels: random kernels of the synthetic camera shake (DvSR fig. 9).
means: means over several reports of deblur-evaluate (icDPM Table 3).
compare: the same pictures of several folders side by side, under the folders' names (icDPM
fig. 6 to 8; with --crop, the window in which they differ most).
grids: the sampling grids of several models in one plot (icDPM fig. 5 and 10, DvSR fig. 6).

With --gin_file of a table row, pictures are those of its test set, prepared in --data_dir, and
they are sampled as the row says; --steps and --beta_max change that.
"""

from __future__ import annotations

import functools
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from absl import flags

from deblur_tf.bin import common

_PHOTOS = flags.DEFINE_string("photos", None, "Folder of sharp photos, to be blurred.")
_PAIRS = flags.DEFINE_string("pairs", None, "Folder of blurry/sharp pairs.")
_FIRST = flags.DEFINE_string("first", None, "spaces: folder of blurry pictures.")
_SECOND = flags.DEFINE_string("second", None, "spaces: second folder of blurry pictures.")
_WEIGHTS = flags.DEFINE_string("metric_weights", None, "spaces: folder of metric weights.")
_MODEL = flags.DEFINE_string(
    "model", "tiny", "Model in the package, run directory or model folder.", short_name="m"
)
_OUTPUT = flags.DEFINE_string("output", None, "Output folder, made if missing.", short_name="o")
_CROP = flags.DEFINE_integer("crop", 0, "Side of the central crop in pixels; 0: whole images.", 0)
_LIMIT = flags.DEFINE_integer("limit", 0, "Use only this many images, from the first; 0: all.", 0)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of blur and samples.", 0)
_GIN_FILE = flags.DEFINE_multi_string("gin_file", [], "Gin file of a table row. Repeatable.")
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where prepared sets are. Default: $TFDS_DATA_DIR or ~/tensorflow_datasets."
)
_STEPS = flags.DEFINE_integer("steps", None, "Sampling steps. Default: the row's or model's.", 1)
_BETA_MAX = flags.DEFINE_float(
    "beta_max", None, "Largest noise variance of a step. Default: the row's or model's."
)
_N_SAMPLES = flags.DEFINE_integer("n_samples", 8, "diversity: samples.", 2, short_name="n")
_IMAGES = flags.DEFINE_list("images", [], "compare: names of the pictures. Default: the first.")
flags.declare_key_flag("import")


def _each() -> Any:
    """Pairs with a progress bar."""
    from deblur_tf.base.progress import bar
    from deblur_tf.evaluation import pairs as sources

    if _GIN_FILE.value:
        if _PHOTOS.value or _PAIRS.value:
            raise common.UsageError("give --gin_file, --photos or --pairs")
        row = _protocol()
        pairs = sources.prepared(row.dataset, _DATA_DIR.value, row.split, _CROP.value)
    else:
        pairs = sources.of(_PHOTOS.value, _PAIRS.value, _CROP.value, _SEED.value)
    count = min(_LIMIT.value or len(pairs), len(pairs))
    return (pairs[i] for i in bar(range(count), unit="image"))


@functools.cache
def _protocol() -> Any:
    """The protocol of the gin files."""
    from deblur_tf import config

    config.load(_GIN_FILE.value)
    return config.build("Protocol")


def _sampling() -> dict[str, Any]:
    """Seed, steps and beta_max as the row says, changed by flags."""
    found: dict[str, Any] = {"seed": _SEED.value, "steps": None, "beta_max": None}
    if _GIN_FILE.value and _STEPS.value is None:
        point = _protocol().fixed()
        found |= {"steps": point.steps, "beta_max": point.beta_max}
    given = {"steps": _STEPS.value, "beta_max": _BETA_MAX.value}
    return found | {name: value for name, value in given.items() if value is not None}


def _deblurrer() -> Any:
    from deblur_tf.inference.deblurrer import Deblurrer

    common.import_modules()
    return Deblurrer.from_pretrained(_MODEL.value)


def _spaces() -> str:
    from deblur_tf import config
    from deblur_tf.base.files import write_csv
    from deblur_tf.base.progress import bar
    from deblur_tf.evaluation import analyses

    if not (_FIRST.value and _SECOND.value):
        raise common.UsageError("--first and --second are needed")
    config.load([])
    with bar(unit="image") as images:
        rows = analyses.space_distances(
            _deblurrer(),
            (_FIRST.value, _SECOND.value),
            pathlib.Path(common.value_of(_OUTPUT)),
            _WEIGHTS.value,
            _LIMIT.value,
            images.update,
        )
    write_csv(pathlib.Path(common.value_of(_OUTPUT)) / "spaces.csv", rows)
    lines = ["| space | scale | FID | KID (x100) |", "|---|---|---|---|"]
    lines += [f"| {r['name']} | x{r['scale']} | {r['FID']:.3f} | {r['KID']:.2f} |" for r in rows]
    return "\n".join(lines)


def _guidance() -> str:
    from deblur_tf.evaluation import drawings

    return drawings.guidance(_deblurrer(), _each(), pathlib.Path(common.value_of(_OUTPUT)))


def _residual() -> str:
    from deblur_tf.evaluation import drawings

    output = pathlib.Path(common.value_of(_OUTPUT))
    return drawings.residual(_deblurrer(), _each(), output, **_sampling())


def _diversity() -> str:
    from deblur_tf.evaluation import drawings

    output = pathlib.Path(common.value_of(_OUTPUT))
    return drawings.diversity(_deblurrer(), _each(), output, _N_SAMPLES.value, **_sampling())


def _kernels() -> str:
    from deblur_tf.evaluation import drawings

    return drawings.kernels(pathlib.Path(common.value_of(_OUTPUT)), _SEED.value)


def _compare(folders: Sequence[str]) -> str:
    from deblur_tf.evaluation import comparison

    output = pathlib.Path(common.value_of(_OUTPUT))
    rows = _LIMIT.value or 6
    return comparison.sheet(comparison.labelled(folders), output, _IMAGES.value, rows, _CROP.value)


def _grids(folders: Sequence[str]) -> str:
    from deblur_tf.evaluation import comparison

    return comparison.grids(comparison.labelled(folders), pathlib.Path(common.value_of(_OUTPUT)))


def _means(folders: Sequence[str]) -> str:
    from deblur_tf.evaluation import analyses

    reports = []
    for folder in folders:
        path = pathlib.Path(folder) / "report.json"
        if not path.is_file():
            raise common.UsageError(f"{folder}: has no report.json of deblur-evaluate")
        reports.append(json.loads(path.read_text(encoding="utf-8")))
    kinds = [k for k in reports[0]["labels"] if all(k in r["means"] for r in reports)]
    found = {kind: analyses.mean_of_sets(reports, kind) for kind in kinds}
    columns = [m for m in reports[0]["metrics"] if any(m in row for row in found.values())]
    labels = [reports[0]["metrics"][m]["label"] for m in columns]
    lines = [f"| mean of {len(reports)} sets | {' | '.join(labels)} |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for kind, row in found.items():
        cells = (f"{row[m]:.4g}" if m in row else "" for m in columns)
        lines.append(f"| {reports[0]['labels'][kind]} | {' | '.join(cells)} |")
    return "\n".join(lines)


_SOURCE = ("photos", "pairs", "gin_file", "data_dir", "model", "crop", "limit", "seed")
_FLAGS = {
    "spaces": ("first", "second", "metric_weights", "model", "limit"),
    "guidance": _SOURCE,
    "residual": (*_SOURCE, "steps", "beta_max"),
    "diversity": (*_SOURCE, "steps", "beta_max", "n_samples"),
    "kernels": ("seed",),
    "means": (),
    "compare": ("images", "crop", "limit"),
    "grids": (),
}


def main(argv: Sequence[str]) -> int:
    command, *folders = argv[1:] or [""]
    common.refuse_flags(command, _FLAGS)
    commands = {
        "spaces": _spaces,
        "guidance": _guidance,
        "residual": _residual,
        "diversity": _diversity,
        "kernels": _kernels,
    }
    if command == "means" and folders:
        print(_means(folders))
        return common.OK
    of_folders = {"compare": _compare, "grids": _grids}
    if (command not in commands or folders) and (command not in of_folders or not folders):
        raise common.UsageError(
            f"give {', '.join(commands)}, or means, compare or grids and folders"
        )
    if not _OUTPUT.value:
        raise common.UsageError("-o/--output is missing")
    common.make_folder(_OUTPUT.value, alone=True)
    print(of_folders[command](folders) if folders else commands[command]())
    return common.OK


def entry() -> None:
    common.run(main, __doc__, max_arguments=1000)


if __name__ == "__main__":
    entry()
