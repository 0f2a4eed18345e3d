"""Subjects of an evaluation: pictures that a model restores, or that already exist."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from deblur_tf.evaluation.baselines import best_smoothing
from deblur_tf.evaluation.pairs import Pair
from deblur_tf.numerics.image_ops import to_uint8_array

Images = dict[str, np.ndarray]


class Subject(Protocol):
    """Provides the pictures that are measured.

    Attributes:
      labels: labels of its kinds of pictures, in the order of a table's rows.
      columns: column titles of the sheet by kind; the sharp picture comes last.
      made: the kind whose computation is timed.
      has_truth: whether the sharp picture of each pair is known, and measured too.
      fixed_kinds: kinds that do not depend on how a model is sampled.
      batch_size: number of pairs that `images` is given at most.
    """

    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def columns(self) -> Mapping[str, str]: ...
    @property
    def made(self) -> str: ...
    @property
    def has_truth(self) -> bool: ...
    @property
    def fixed_kinds(self) -> tuple[str, ...]: ...
    @property
    def batch_size(self) -> int: ...

    def images(
        self, pairs: Sequence[Pair], without: Collection[str] = ()
    ) -> list[tuple[Images, float]]:
        """The pictures of pairs of one size.

        Args:
          pairs: the pairs, at least one.
          without: kinds that need not be made.

        Returns:
          For each pair uint8 [H, W, 3] by kind, and the seconds that making them took.
        """
        ...


def picture_seed(seed: int, name: str) -> int:
    """The seed of one picture's noise in an evaluation, a function of seed and name alone.

    With one seed for all pictures each would get the same noise, and sets of samples would be
    correlated. The order, the batch and the shard of a picture change nothing.
    """
    digest = hashlib.sha256(f"{seed}\0{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class Restored:
    """The blurry picture, the best smoothing of it, a sample, and the mean of several.

    Args:
      deblurrer: a `Deblurrer`.
      n_samples: number of samples that are drawn and averaged.
      seed: with the name of a picture, decides its noise, see `picture_seed`.
      batch_size: pictures of one size, or samples of a picture, that are computed at a time.
      settings: further arguments of `Deblurrer.settings`.
    """

    made = "sample"
    has_truth = True
    fixed_kinds = ("blurry", "smoothed")

    def __init__(
        self,
        deblurrer: Any,
        n_samples: int = 1,
        seed: int = 0,
        batch_size: int = 1,
        **settings: Any,
    ):
        self.deblurrer = deblurrer
        self.batch_size = batch_size
        self.seed = seed
        self.settings = {"n_samples": n_samples, **settings}
        self.labels = {
            "blurry": "blurry input",
            "smoothed": "best Gaussian smoothing of each",
            "sample": "one sample",
        }
        self.columns = {"blurry": "blurry", "sample": "one sample"}
        if n_samples > 1:
            self.labels["mean"] = f"mean of {n_samples} samples"
            self.columns["mean"] = f"mean of {n_samples}"

    def images(
        self, pairs: Sequence[Pair], without: Collection[str] = ()
    ) -> list[tuple[Images, float]]:
        """See `Subject.images`."""
        start = time.perf_counter()
        drawn = self.deblurrer.draw(
            np.stack([pair.input for pair in pairs]),
            [picture_seed(self.seed, pair.name) for pair in pairs],
            self.deblurrer.settings(**self.settings),
            batch_size=self.batch_size,
        )
        seconds = (time.perf_counter() - start) / len(pairs)
        return [(self._kinds(pair, drawn[:, i], without), seconds) for i, pair in enumerate(pairs)]

    def _kinds(self, pair: Pair, samples: np.ndarray, without: Collection[str]) -> Images:
        found = {"blurry": pair.input, "sample": to_uint8_array(samples[0])}
        if "smoothed" not in without:
            found["smoothed"] = best_smoothing(pair.input, pair.sharp)
        if "mean" in self.labels:
            found["mean"] = to_uint8_array(samples.mean(axis=0))
        return found


class ExistingPictures:
    """Pictures that were restored before, read with the pairs.

    Args:
      blurry: whether the pairs also have blurry pictures.
      sharp: whether the sharp pictures are known; otherwise only metrics without reference can
        be measured.
    """

    made = "restored"
    fixed_kinds: tuple[str, ...] = ()
    batch_size = 1

    def __init__(self, blurry: bool = False, sharp: bool = True):
        self.has_truth = sharp
        self.labels = {"blurry": "blurry input"} if blurry else {}
        self.labels |= {"restored": "restored"}
        self.columns = {"blurry": "blurry"} if blurry else {}
        self.columns |= {"restored": "restored"}

    def images(
        self, pairs: Sequence[Pair], without: Collection[str] = ()
    ) -> list[tuple[Images, float]]:
        """See `Subject.images`."""
        del without
        return [({kind: getattr(pair, kind) for kind in self.labels}, 0.0) for pair in pairs]
