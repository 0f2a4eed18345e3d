"""DIV2K with synthetic camera shake (DvSR app. C): see README.md."""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets.public_api as tfds

from deblur_tf.base.errors import DataError
from deblur_tf.data.photos import list_images
from deblur_tf.data.synthesis import shaken
from deblur_tf.datasets import pair_builder
from deblur_tf.image_files.reading import read_rgb

URL = "https://data.vision.ee.ethz.ch/cvl/DIV2K/"
ARCHIVES = {"train": "DIV2K_train_HR.zip", "validation": "DIV2K_valid_HR.zip"}


@dataclasses.dataclass(eq=False, kw_only=True)
class ShakeConfig(pair_builder.PairConfig):
    """As `PairConfig`, with the seed of kernels and noise, which the metadata records."""

    seed: int = 0


class Builder(pair_builder.PairBuilder):
    """800 training and 100 validation photographs and their shaken copies."""

    BUILDER_CONFIGS = [
        ShakeConfig(name="shake", description="Camera shake and noise of seed 0."),
        ShakeConfig(name="shake_subset", description="Any part of the photographs.", subset=True),
    ]
    COUNTS = {"train": 800, "validation": 100}
    HOMEPAGE = "https://data.vision.ee.ethz.ch/cvl/DIV2K/"
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
Nothing is needed: DIV2K's sharp photographs (4 GB, for academic use) are
downloaded. If you have them, put DIV2K_train_HR.zip and DIV2K_valid_HR.zip, or
the extracted folders, into manual_dir."""

    can_use_beam = False  # its pairs are computed

    def _info(self) -> tfds.core.DatasetInfo:
        info = super()._info()
        info.metadata["seed"] = self.builder_config.seed
        return info

    def find(self, dl_manager: tfds.download.DownloadManager) -> dict[str, list[pathlib.Path]]:
        """The sharp photographs in manual_dir; if there are none, they are downloaded (4 GB)."""
        try:
            candidates = pair_builder.roots(dl_manager, tuple(ARCHIVES.values()))
        except AssertionError:  # no manual_dir
            candidates = []
        folders = {
            split: pair_builder.first_with(candidates, name.removesuffix(".zip"))
            for split, name in ARCHIVES.items()
        }
        if not any(folders.values()):
            fetched = dl_manager.download_and_extract({s: URL + n for s, n in ARCHIVES.items()})
            folders = {s: pathlib.Path(folder) for s, folder in fetched.items()}
        return {split: list_images(folder) for split, folder in folders.items() if folder}

    def scene(self, pair: Any) -> str:
        return pair.parent.name

    def _generate_examples(
        self, split: str, pairs: Sequence[pathlib.Path]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for i, path in enumerate(pair_builder.progress(pairs, len(pairs), f"{self.name} {split}")):
            try:
                # The number in the file name, so that a subset has the same pairs as the whole.
                number = int(path.stem)
            except ValueError:
                raise DataError(f"{path}: not the name of a DIV2K image (0001.png)") from None
            rng = np.random.default_rng((self.builder_config.seed, number))
            blurry, sharp = shaken(read_rgb(path), rng, str(path))
            yield i, {"blurry": blurry, "sharp": sharp, "id": path.stem}
