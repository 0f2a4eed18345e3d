"""Distances between sets of feature vectors for FID and KID, in float64 and streamed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from deblur_tf.base.errors import DataError

# A set as the features of its pictures, [N, D] each.
Sets = Sequence[np.ndarray]
CHUNK = 2048  # vectors that are compared at once


def moments(rows: Sets) -> tuple[np.ndarray, np.ndarray]:
    """Mean [D] and unbiased covariance [D, D] of all vectors.

    Sums are taken relative to the first vector, so that a large mean costs no precision.

    Raises:
      DataError: for fewer than two vectors.
    """
    count, total, squares, origin = 0, 0.0, 0.0, np.zeros(())
    for some in rows:
        if not count and len(some):
            origin = some[0].astype(np.float64)
        x = some.astype(np.float64) - origin
        count, total, squares = count + len(x), total + x.sum(0), squares + x.T @ x
    if count < 2:
        raise DataError(f"{count} vectors; a covariance needs two")
    mean = total / count
    return origin + mean, (squares - count * np.outer(mean, mean)) / (count - 1)


def frechet(mean_a: np.ndarray, cov_a: np.ndarray, mean_b: np.ndarray, cov_b: np.ndarray) -> float:
    """Frechet distance of two Gaussians (Heusel et al., 2017, eq. 6).

    sqrt(A B) has the same trace as the root of the symmetric sqrt(A) B sqrt(A), which is used.
    """
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    product = np.linalg.eigvalsh(root @ cov_b @ root)
    trace = np.trace(cov_a) + np.trace(cov_b) - 2 * np.sum(np.sqrt(np.maximum(product, 0.0)))
    return float(np.sum((mean_a - mean_b) ** 2) + trace)


def fid(a: Sets, b: Sets) -> float:
    """Frechet distance between Gaussians fitted to two sets."""
    return frechet(*moments(a), *moments(b))


def _chunks(rows: Sets) -> Iterator[np.ndarray]:
    """All vectors in float64, about `CHUNK` at a time."""
    waiting: list[np.ndarray] = []
    for some in rows:
        waiting.append(some)
        if sum(map(len, waiting)) >= CHUNK:
            yield np.concatenate(waiting).astype(np.float64)
            waiting = []
    if waiting:
        yield np.concatenate(waiting).astype(np.float64)


def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """KID's polynomial kernel: [N, D], [M, D] -> [N, M] (Binkowski et al., 2018, eq. 4)."""
    return (x @ y.T / x.shape[1] + 1.0) ** 3


def kid_full(a: Sets, b: Sets) -> float:
    """Squared MMD of two sets, unbiased, over all pairs of vectors.

    The U-statistic of Gretton et al. (2012, eq. 3): it needs no seed.
    """
    count_a, within_a = _within(a)
    count_b, within_b = _within(b)
    between = sum(kernel(x, y).sum() for x in _chunks(a) for y in _chunks(b))
    return float(within_a + within_b - 2 * between / (count_a * count_b))


def _within(rows: Sets) -> tuple[int, float]:
    """Number of vectors, and the mean of the kernel over pairs of different vectors."""
    count, total = 0, 0.0
    for i, x in enumerate(_chunks(rows)):
        count += len(x)
        own = kernel(x, x)
        total += own.sum() - np.trace(own)
        total += sum(2 * kernel(x, y).sum() for y in itertools.islice(_chunks(rows), i))
    if count < 2:
        raise DataError(f"{count} vectors; KID needs two")
    return count, total / (count * (count - 1))


def kid_blocks(a: Sets, b: Sets, size: int = 1024, seed: int = 0) -> float:
    """KID as in TF-GAN: mean over equal blocks of at most `size` shuffled vectors each.

    Holds both sets in memory; they must have equally many vectors.
    """
    x, y = _shuffled(a, seed), _shuffled(b, seed + 1)
    if len(x) != len(y):
        raise DataError(f"blocks need sets of equal size, not {len(x)} and {len(y)}")
    count = -(-len(x) // size)
    blocks = zip(np.array_split(x, count), np.array_split(y, count), strict=True)
    return float(np.mean([kid_full([p], [q]) for p, q in blocks]))


def kid_subsets(a: Sets, b: Sets, size: int = 1000, subsets: int = 100, seed: int = 0) -> float:
    """KID as in Binkowski et al.: mean over subsets drawn without replacement, in memory."""
    if not len(a) or not len(b):
        raise DataError("no vectors")
    x, y = np.concatenate(list(a)), np.concatenate(list(b))
    size = min(size, len(x), len(y))
    rng = np.random.default_rng(seed)

    def some(rows: np.ndarray) -> list[np.ndarray]:
        return [rows[rng.choice(len(rows), size, replace=False)].astype(np.float64)]

    return float(np.mean([kid_full(some(x), some(y)) for _ in range(subsets)]))


def _shuffled(rows: Sets, seed: int) -> np.ndarray:
    if not len(rows):
        raise DataError("no vectors")
    return np.random.default_rng(seed).permutation(np.concatenate(list(rows)))
