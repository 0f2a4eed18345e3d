"""Several methods side by side: sheets of their pictures, and their grids in one plot."""

from __future__ import annotations

import csv
import math
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from deblur_tf.base.errors import DataError, UsageError
from deblur_tf.base.files import replacing
from deblur_tf.evaluation import results
from deblur_tf.evaluation.grid import DISTORTION, GRID_FILE, PERCEPTION
from deblur_tf.evaluation.sheets import picture_sheet
from deblur_tf.image_files.reading import read_rgb

SHEET_FILE, GRIDS_FILE = "comparison.png", "grids.png"
TIME = "seconds"


def labelled(folders: Sequence[str]) -> dict[str, str]:
    """Labels and folders of "label=folder" or "folder", whose last part is its label.

    Raises:
      UsageError: if two have one label.
    """
    found: dict[str, str] = {}
    for text in folders:
        label, equals, folder = text.partition("=")
        label, folder = (label, folder) if equals else (pathlib.Path(text).name, text)
        if label in found:
            raise UsageError(f"two folders are called {label!r}: give label=folder")
        found[label] = folder
    return found


def detail(pictures: Sequence[np.ndarray], side: int) -> tuple[slice, slice]:
    """The window in which pictures differ most, where a reader should look.

    Args:
      pictures: uint8 [H, W, 3] each, of one size.
      side: side of the window in pixels; the whole pictures if they are smaller.
    """
    height, width = pictures[0].shape[:2]
    tall, wide = min(side, height), min(side, width)
    stack = np.stack([p.mean(axis=-1) for p in pictures])
    spread = np.pad(np.cumsum(np.cumsum(stack.std(axis=0), 0), 1), ((1, 0), (1, 0)))
    sums = spread[tall:, wide:] - spread[:-tall, wide:] - spread[tall:, :-wide]
    sums = sums + spread[:-tall, :-wide]
    top, left = (int(n) for n in np.unravel_index(np.argmax(sums), sums.shape))
    return slice(top, top + tall), slice(left, left + wide)


def sheet(
    folders: Mapping[str, str],
    output: pathlib.Path,
    names: Sequence[str] = (),
    rows: int = 6,
    crop: int = 0,
) -> str:
    """comparison.png: the same pictures of several folders, one column each, under their labels.

    Args:
      folders: folders by label, in the order of columns; pictures are matched by name, see
        `results.find`.
      output: folder of the sheet.
      names: pictures to show; none: those that come first by name.
      rows: number of pictures, unless they are named.
      crop: side of the window that is shown of each, where the pictures differ most; 0: all.

    Returns:
      A line that says what was made.

    Raises:
      DataError: if folders have no picture in common, lack a named one, or differ in its size.
    """
    sides = {label: results.find(folder, set()) for label, folder in folders.items()}
    common = sorted(set.intersection(*(set(side) for side in sides.values())))
    for name in names:
        if name not in common:
            lacking = [label for label, side in sides.items() if name not in side]
            raise DataError(f"{name}: no picture of that name in {', '.join(lacking)}")
    if not common:
        raise DataError(f"{', '.join(folders.values())} have no picture in common")
    shown = []
    for name in names or common[:rows]:
        pictures = [read_rgb(side[name]) for side in sides.values()]
        if len({p.shape for p in pictures}) > 1:
            sizes = ", ".join(
                f"{label} {p.shape[1]}x{p.shape[0]}"
                for label, p in zip(sides, pictures, strict=True)
            )
            raise DataError(f"{name} differs in size: {sizes}")
        if crop:
            window = detail(pictures, crop)
            pictures = [p[window] for p in pictures]
        shown.append(pictures)
    with replacing(output / SHEET_FILE) as file:
        picture_sheet(shown, list(folders), crop or 256).save(file, "png")
    return f"{len(shown)} pictures of {len(folders)} folders: {output / SHEET_FILE}"


def grids(folders: Mapping[str, str], output: pathlib.Path) -> str:
    """grids.png: perception, distortion and time of several models, each over its sampling grid.

    As in icDPM fig. 5 and 10 and DvSR fig. 6: a panel for each pair of metrics that all have, and
    for each metric against time; a line for each model joins the points that no other of its points
    surpasses.

    Args:
      folders: folders with a grid.csv by label.
      output: folder of the plot.

    Returns:
      A line for each model with its best point in the first metric; with two models, also how
      many times as long one takes per picture as the other.

    Raises:
      DataError: if a folder has no grid, or grids have no metric in common.
    """
    from matplotlib.figure import Figure

    found = {label: _read(folder) for label, folder in folders.items()}
    have = set.intersection(*({k for row in rows for k in row} for rows in found.values()))
    perception = [name for name in PERCEPTION if name in have]
    distortion = [name for name in DISTORTION if name in have]
    panels = [(x, y) for y in perception for x in distortion]
    panels += [(TIME, y) for y in (perception or distortion)]
    if not perception + distortion:
        raise DataError("the grids have no metric in common")
    figure = Figure(figsize=(4.5 * len(panels), 3.8), layout="constrained")
    names = {**DISTORTION, **PERCEPTION, TIME: "seconds per picture"}
    for axis, (x, y) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for label, rows in found.items():
            points = [(r[x], r[y]) for r in rows if math.isfinite(r[x]) and math.isfinite(r[y])]
            (marks,) = axis.plot(*zip(*points, strict=True), ".", alpha=0.5)
            front = sorted(p for p in points if not _surpassed(p, points, (_sign(x), _sign(y))))
            axis.plot(*zip(*front, strict=True), color=marks.get_color(), label=label)
        axis.set(xlabel=names[x], ylabel=names[y], xscale="log" if x == TIME else "linear")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    with replacing(output / GRIDS_FILE) as file:
        figure.savefig(file, format="png", dpi=120)
    first = (perception or distortion)[0]
    best = {
        label: max(rows, key=lambda r: _sign(first) * r[first]) for label, rows in found.items()
    }
    lines = [
        f"{label}: best {first} {row[first]:.4g} with {row['steps']:g} steps, beta_max "
        f"{row['beta_max']:g}, {row[TIME]:.3g} s per picture"
        for label, row in best.items()
    ]
    if len(best) == 2:
        one, other = (row[TIME] for row in best.values())
        lines.append(f"time per picture, first over second: {one / other:.2f}")
    return "\n".join([*lines, str(output / GRIDS_FILE)])


def _sign(metric: str) -> int:
    """1 where more is better, -1 where less is."""
    return 1 if metric in DISTORTION else -1


def _surpassed(
    point: tuple[float, float], points: Sequence[tuple[float, float]], signs: tuple[int, int]
) -> bool:
    """Whether another point is no worse in both respects, and better in one."""
    own = [sign * value for sign, value in zip(signs, point, strict=True)]
    others = ([sign * value for sign, value in zip(signs, p, strict=True)] for p in points)
    return any(o[0] >= own[0] and o[1] >= own[1] and o != own for o in others)


def _read(folder: str) -> list[dict[str, float]]:
    """The rows of a grid's single samples, as numbers; NaN for what is missing."""
    path = pathlib.Path(folder) / GRID_FILE
    if not path.is_file():
        raise DataError(f"{folder}: has no {GRID_FILE} of deblur-evaluate model --points")
    with open(path, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "sample"]
    texts = ("kind", "sampler")
    return [{k: float(v or "nan") for k, v in r.items() if k not in texts} for r in rows]
