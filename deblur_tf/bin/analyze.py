r"""Looks into a model, as the papers' figures do.

  deblur-analyze spaces --first=GOPRO_Large/test --second=RealBlur_J/test -m RUN -o out/
  deblur-analyze guidance --pairs=my_pairs -m RUN -o out/
  deblur-analyze residual --pairs=my_pairs -m RUN -o out/
  deblur-analyze diversity --photos=my_sharp_photos -n 8 -o out/
  deblur-analyze means results/gopro results/hide results/reds

spaces: FID and KID of two sets of blurry pictures as they are, made smaller, and as the
guidance network predicts them (icDPM Table 1).
guidance: what the guidance network sees and predicts, and its features' principal
components as colours (icDPM fig. 4 and 9).
residual: the first prediction of a predict-and-refine model, what it lacks, and the
entropy of that against the entropy of the sharp pictures (DvSR fig. 3, sec. 6.1).
diversity: deviation of each pixel between samples, and of each picture its diversity
against its sharpness (DvSR fig. 5 and 8).
means: of several reports of deblur-evaluate (icDPM Table 3).
"""

from __future__ import annotations

import csv
import io
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from absl import flags

from deblur_tf.bin import common

_PHOTOS = flags.DEFINE_string("photos", None, "Folder of sharp photos, to be blurred.")
_PAIRS = flags.DEFINE_string("pairs", None, "Folder of blurry/sharp pairs.")
_FIRST = flags.DEFINE_string("first", None, "spaces: folder of blurry pictures.")
_SECOND = flags.DEFINE_string("second", None, "spaces: another one.")
_WEIGHTS = flags.DEFINE_string("metric_weights", None, "spaces: folder of metric weights.")
_MODEL = flags.DEFINE_string(
    "model", "tiny", "Model in the package, run directory or model folder.", short_name="m"
)
_OUTPUT = flags.DEFINE_string("output", None, "Output folder, made if missing.", short_name="o")
_CROP = flags.DEFINE_integer("crop", 0, "Side of the central crop; 0 for whole images.", 0)
_LIMIT = flags.DEFINE_integer("limit", 0, "Use only the first so many images; 0: all.", 0)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of blur and samples.", 0)
_STEPS = flags.DEFINE_integer("steps", None, "Sampling steps. Default: the model's.", 1)
_N_SAMPLES = flags.DEFINE_integer("n_samples", 8, "diversity: samples.", 2, short_name="n")
_ROWS = 8  # of pictures on a sheet


def _pairs() -> Any:
    from deblur_tf.data.photos import open_photos
    from deblur_tf.evaluation import pairs

    if bool(_PHOTOS.value) == bool(_PAIRS.value):
        raise common.UsageError("give one of --photos and --pairs")
    if _PHOTOS.value:
        return pairs.synthetic(open_photos(_PHOTOS.value), _CROP.value, _SEED.value)
    return pairs.folder(_PAIRS.value, _CROP.value)


def _each() -> Any:
    """Pairs with a progress bar."""
    from tqdm import tqdm

    pairs = _pairs()
    count = min(_LIMIT.value or len(pairs), len(pairs))
    return (pairs[i] for i in tqdm(range(count), unit="image", disable=None))


def _deblurrer() -> Any:
    from deblur_tf.inference.deblurrer import Deblurrer

    return Deblurrer.from_pretrained(_MODEL.value)


def _save_sheet(name: str, rows: list[list[Any]], titles: Sequence[str]) -> None:
    from deblur_tf.evaluation.sheets import picture_sheet
    from deblur_tf.files import replacing

    with replacing(pathlib.Path(_OUTPUT.value) / name) as file:
        picture_sheet(rows, titles).save(file, "png")


def _save_csv(name: str, rows: Sequence[dict[str, Any]]) -> None:
    from deblur_tf.files import write_text

    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_text(pathlib.Path(_OUTPUT.value) / name, text.getvalue())


def _spaces() -> str:
    from tqdm import tqdm

    from deblur_tf import config
    from deblur_tf.evaluation import analyses

    if not (_FIRST.value and _SECOND.value):
        raise common.UsageError("--first and --second are needed")
    config.load([])
    with tqdm(unit="image", disable=None) as bar:
        rows = analyses.space_distances(
            _deblurrer(),
            (_FIRST.value, _SECOND.value),
            pathlib.Path(_OUTPUT.value),
            _WEIGHTS.value,
            _LIMIT.value,
            bar.update,
        )
    _save_csv("spaces.csv", rows)
    lines = ["| space | scale | FID | KID (x100) |", "|---|---|---|---|"]
    lines += [f"| {r['name']} | x{r['scale']} | {r['FID']:.3f} | {r['KID']:.2f} |" for r in rows]
    return "\n".join(lines)


def _guidance() -> str:
    import numpy as np

    from deblur_tf.evaluation import analyses

    deblurrer, rows = _deblurrer(), []
    for pair in _each():
        if len(rows) >= _ROWS:
            break
        row = [pair.blurry]
        for scale in analyses.guidance_pictures(deblurrer, pair.blurry):
            for name in ("input", "prediction", "features"):
                image = scale[name]
                row.append(np.repeat(image, 3, -1) if image.shape[-1] == 1 else image)
        rows.append([_enlarged(image) for image in row])
    scales = deblurrer.model.guidance_scales
    titles = ["blurry"] + [
        f"{what}, x{2**k}" for k in scales for what in ("input", "predicted", "features")
    ]
    _save_sheet("guidance.png", rows, titles)
    return f"{len(rows)} rows in {_OUTPUT.value}/guidance.png"


def _enlarged(image: Any) -> Any:
    """Repeats pixels until the picture fills a cell of the sheet."""
    factor = max(1, 256 // max(image.shape[:2]))
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def _residual() -> str:
    import numpy as np

    from deblur_tf.evaluation import analyses
    from deblur_tf.metrics.psnr import psnr

    deblurrer, sheet, rows = _deblurrer(), [], []
    entropies = {"sharp": analyses.Entropy(), "residual": analyses.Entropy()}
    for pair in _each():
        predicted = analyses.prediction(deblurrer, pair.blurry)
        residual = pair.sharp.astype(int) - predicted
        entropies["sharp"].add(pair.sharp)
        entropies["residual"].add(residual)
        own = {}
        for kind, values in (("sharp", pair.sharp), ("residual", residual)):
            one = analyses.Entropy()
            one.add(values)
            own[f"{kind}_bits"] = one.result()
        figures = {
            k: psnr(x, pair.sharp) for k, x in (("blurry", pair.blurry), ("pred", predicted))
        }
        rows.append({"image": pair.name, **{f"psnr_{k}": v for k, v in figures.items()}, **own})
        if len(sheet) < _ROWS:
            shown = np.uint8(np.clip(np.round(residual / 2 + 128), 0, 255))
            restored = deblurrer.restore(pair.blurry, _STEPS.value, seed=_SEED.value)
            sheet.append([pair.blurry, predicted, restored, pair.sharp, shown])
    _save_csv("residual.csv", rows)
    titles = ["blurry", "first prediction", "sample", "sharp", "residual / 2"]
    _save_sheet("residual.png", sheet, titles)
    found = {kind: entropy.result() for kind, entropy in entropies.items()}
    return (
        f"entropy of {len(rows)} pictures: sharp {found['sharp']:.2f}, residual "
        f"{found['residual']:.2f} bits a value"
    )


def _diversity() -> str:
    import numpy as np
    from matplotlib.figure import Figure

    from deblur_tf.evaluation import analyses
    from deblur_tf.files import replacing
    from deblur_tf.image_ops import to_uint8_array

    deblurrer, sheet, rows = _deblurrer(), [], []
    for pair in _each():
        samples = deblurrer.samples(
            pair.blurry, _STEPS.value, seed=_SEED.value, n_samples=_N_SAMPLES.value
        )
        rows.append(
            {
                "image": pair.name,
                "sharpness": analyses.sharpness(pair.blurry, pair.sharp),
                "diversity": analyses.diversity(samples, pair.sharp),
                "mean_deviation": float(127.5 * samples.std(axis=0, ddof=1).mean()),
            }
        )
        if len(sheet) < _ROWS:
            deviation = 127.5 * samples.std(axis=0, ddof=1).mean(-1, keepdims=True)
            shown = np.uint8(np.clip(np.round(8 * deviation), 0, 255)).repeat(3, -1)
            first = [to_uint8_array(s) for s in samples[:2]]
            sheet.append([pair.blurry, *first, to_uint8_array(samples.mean(0)), shown, pair.sharp])
    _save_csv("diversity.csv", rows)
    titles = ["blurry", "sample 1", "sample 2", "mean", "deviation x 8", "sharp"]
    _save_sheet("diversity.png", sheet, titles)
    figure = Figure(figsize=(5, 4), layout="constrained")
    axis = figure.subplots()
    axis.scatter([r["sharpness"] for r in rows], [r["diversity"] for r in rows], s=12)
    axis.set(xlabel="sharpness of the input", ylabel=f"diversity of {_N_SAMPLES.value} samples")
    axis.grid(alpha=0.3)
    with replacing(pathlib.Path(_OUTPUT.value) / "sharpness.png") as file:
        figure.savefig(file, format="png", dpi=120)
    values = np.array([[r["sharpness"], r["diversity"]] for r in rows])
    if len(rows) < 3:
        return f"{len(rows)} pictures; a correlation needs three"
    from scipy.stats import spearmanr

    rank = spearmanr(values[:, 0], values[:, 1]).statistic
    return f"{len(rows)} pictures: rank correlation of sharpness and diversity {rank:.2f}"


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


def main(argv: Sequence[str]) -> int:
    command, *folders = argv[1:] or [""]
    commands = {
        "spaces": _spaces,
        "guidance": _guidance,
        "residual": _residual,
        "diversity": _diversity,
    }
    if command == "means" and folders:
        print(_means(folders))
        return common.OK
    if command not in commands or folders:
        raise common.UsageError(f"give {', '.join(commands)} or means FOLDER ...")
    if not _OUTPUT.value:
        raise common.UsageError("-o/--output is missing")
    common.make_folder(_OUTPUT.value)
    print(commands[command]())
    return common.OK


def entry() -> None:
    common.run(main, __doc__, max_arguments=1000)


if __name__ == "__main__":
    entry()
