"""From answers to a table: shares of wins, their intervals, and strengths of methods."""

from __future__ import annotations

import csv
import dataclasses
import math
import os
from collections.abc import Sequence

import numpy as np

from deblur_tf.base.errors import DataError
from deblur_tf.study.answers import Answers
from deblur_tf.study.design import Study

Z95 = 1.959963984540054  # 97.5 % quantile of a standard normal


@dataclasses.dataclass(frozen=True)
class Ratings:
    """Answers as arrays of equal length: indices of rater, image, winner and loser.

    Attributes:
      methods: names of the methods by index.
    """

    methods: tuple[str, ...]
    raters: np.ndarray
    images: np.ndarray
    winners: np.ndarray
    losers: np.ndarray

    def wins(self, weights: np.ndarray | None = None) -> np.ndarray:
        """float64 [methods, methods]: how often one (row) was preferred to another."""
        count = len(self.methods)
        found = np.zeros((count, count))
        ones = np.ones(len(self.winners)) if weights is None else weights
        np.add.at(found, (self.winners, self.losers), ones)
        return found


def ratings(study: Study, answers: Answers) -> Ratings:
    """The answers of a study.

    Raises:
      DataError: if there are none.
    """
    rows = []
    for rater, number, winner in answers.all():
        shown = study.comparisons[number]
        sides = (shown.left, shown.right) if winner == "left" else (shown.right, shown.left)
        rows.append((rater, shown.image, *sides))
    return _numbered(rows, study.methods)


def read_csv(path: str | os.PathLike[str]) -> Ratings:
    """Reads the answers of another study from a CSV file: rater, image, winner, loser.

    Raises:
      DataError: if a column is missing or empty; the message names the line.
    """
    rows = []
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            for line, row in enumerate(csv.DictReader(file), 2):
                found = tuple(row.get(k) for k in ("rater", "image", "winner", "loser"))
                if not all(found) or found[2] == found[3]:
                    raise DataError(f"{path}, line {line}: needs rater, image, winner and loser")
                rows.append(found)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not text in UTF-8") from error
    return _numbered(rows, tuple(sorted({m for row in rows for m in row[2:]})))


def _numbered(rows: Sequence[tuple[str, ...]], methods: tuple[str, ...]) -> Ratings:
    if not rows:
        raise DataError("no answers yet")
    raters, images, winners, losers = zip(*rows, strict=True)
    number = {method: i for i, method in enumerate(methods)}
    return Ratings(
        methods,
        np.unique(raters, return_inverse=True)[1],
        np.unique(images, return_inverse=True)[1],
        np.array([number[m] for m in winners]),
        np.array([number[m] for m in losers]),
    )


def wilson(wins: float, total: float, z: float = Z95) -> tuple[float, float]:
    """Wilson's interval of the share wins / total; (0, 1) if `total` is 0."""
    if not total:
        return 0.0, 1.0
    share = wins / total
    centre = share + z**2 / (2 * total)
    half = z * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    scale = 1 + z**2 / total
    return (centre - half) / scale, (centre + half) / scale


def connected(wins: np.ndarray) -> bool:
    """Whether each method beats each other one, directly or through others.

    If not, strengths do not exist.
    """
    reach = (wins > 0) | np.eye(len(wins), dtype=bool)
    for _ in range(len(wins)):
        reach = reach @ reach
    return bool(reach.all())


def bradley_terry(wins: np.ndarray, tolerance: float = 1e-12) -> np.ndarray:
    """Log-strengths, with mean zero: P(i over j) = p_i / (p_i + p_j).

    Maximum likelihood by Hunter's (2004) MM updates.

    Raises:
      DataError: if the methods fall into two groups of which one never lost to the other.
    """
    if not connected(wins):
        raise DataError("a method never won or never lost: strengths need more answers")
    total = wins + wins.T
    strengths = np.ones(len(wins))
    for _ in range(10_000):
        rates = total / (strengths[:, None] + strengths[None])
        new = wins.sum(1) / rates.sum(1)
        new /= np.exp(np.mean(np.log(new)))
        change = np.max(np.abs(np.log(new / strengths)))
        strengths = new
        if change < tolerance:
            break
    return np.log(strengths)


def bootstrap(found: Ratings, draws: int = 1000, seed: int = 0) -> np.ndarray:
    """Log-strengths under resampled raters and images, [draws, methods].

    Answers of one rater, and of one image, are not independent: both are drawn with
    replacement. Draws that leave a method without a win or a loss are left out.
    """
    rng = np.random.default_rng(seed)
    counts = [int(values.max()) + 1 for values in (found.raters, found.images)]
    result = []
    for _ in range(draws):
        raters, images = (rng.multinomial(n, np.full(n, 1 / n)) for n in counts)
        wins = found.wins((raters[found.raters] * images[found.images]).astype(float))
        if connected(wins):
            result.append(bradley_terry(wins, 1e-6))
    return np.array(result).reshape(-1, len(found.methods))


def table(found: Ratings, draws: int = 1000, seed: int = 0) -> str:
    """Markdown: shares of wins of rows over columns with 95 % intervals, and strengths."""
    wins = found.wins()
    lines = [
        f"| {len(wins)} methods, {len(found.winners)} answers of "
        f"{int(found.raters.max()) + 1} raters | {' | '.join(found.methods)} | log-strength |",
        "|---" * (len(wins) + 2) + "|",
    ]
    strengths = bradley_terry(wins) if connected(wins) else None
    samples = bootstrap(found, draws, seed) if strengths is not None else np.empty((0, len(wins)))
    for i, method in enumerate(found.methods):
        cells = []
        for j in range(len(wins)):
            total = wins[i, j] + wins[j, i]
            if i == j or not total:
                cells.append("")
                continue
            low, high = wilson(wins[i, j], total)
            cells.append(f"{wins[i, j] / total:.2f} ({low:.2f} to {high:.2f})")
        if strengths is None:
            cells.append("needs more answers")
        else:
            cells.append(f"{strengths[i]:.3f}")
            if len(samples):
                low, high = np.percentile(samples[:, i], (2.5, 97.5))
                cells[-1] += f" ({low:.3f} to {high:.3f})"
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines)
