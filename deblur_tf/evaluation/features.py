"""Features of pictures on disk, and what is measured once for several evaluations."""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Sequence

import numpy as np

from deblur_tf.base.files import replacing
from deblur_tf.evaluation.report import Figures, file_name
from deblur_tf.metrics.base import Features, Metric, SetMetric


class FeatureStore:
    """Features of pictures on disk, one array each, so that sets of any size can be streamed."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder

    def path(self, features: Features, kind: str, name: str) -> pathlib.Path:
        """Path of the features of a picture."""
        return self.folder / features.name / kind / f"{file_name(name)}.npy"

    def has(self, features: Features, kind: str, name: str) -> bool:
        """Whether the features of a picture are stored."""
        return self.path(features, kind, name).exists()

    def add(self, features: Features, kind: str, name: str, image: np.ndarray) -> None:
        """Computes and stores the features of a picture, unless they are stored already."""
        if not self.has(features, kind, name):
            with replacing(self.path(features, kind, name)) as file:
                np.save(file, features.of(image))

    def rows(self, features: Features, kind: str, names: Sequence[str]) -> Rows:
        """The features of the named pictures of one kind."""
        return Rows([self.path(features, kind, name) for name in names])


class Rows(Sequence[np.ndarray]):
    """Arrays in files, each read only when it is indexed."""

    def __init__(self, paths: Sequence[pathlib.Path]):
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        return np.load(self.paths[index])


class MeasuredOnce:
    """Figures and features of pictures that do not depend on how a model is sampled.

    The blurry, the smoothed and the sharp picture are the same at each point of a sampling grid, so
    evaluations that share this object measure them at the first one only. They must have the same
    pairs and metrics.
    """

    def __init__(self) -> None:
        self._figures: dict[str, Figures] = {}
        self._stores: dict[str, FeatureStore] = {}

    def figures(self, name: str) -> Figures:
        """Figures by kind of a picture that was measured; empty otherwise."""
        return self._figures.get(name, {})

    def add(self, name: str, figures: Figures, store: FeatureStore) -> None:
        """Keeps the figures of a picture, and where its features are."""
        if name not in self._figures:
            self._figures[name] = {kind: dict(row) for kind, row in figures.items()}
            self._stores[name] = store

    def copy_features(self, name: str, metrics: Sequence[Metric], store: FeatureStore) -> None:
        """Copies the features of a picture that was measured into another store."""
        before = self._stores[name]
        for features in (m.features for m in metrics if isinstance(m, SetMetric)):
            for kind in self._figures[name]:
                if before is not store and before.has(features, kind, name):
                    target = store.path(features, kind, name)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(before.path(features, kind, name), target)
