"""Any folder with blurry and sharp images: see README.md."""

import pathlib

import tensorflow_datasets.public_api as tfds

from deblur_tf.data.folders import find_pairs
from deblur_tf.datasets import pair_builder

# Each folder of one of these names is a split.
SPLITS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


class Builder(pair_builder.PairBuilder):
    """Pairs of your own; give each folder its own configuration name."""

    BUILDER_CONFIGS = [pair_builder.PairConfig(name="pairs", description="Pairs matched by name.")]
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
Set manual_dir to a folder with the subfolders blur and sharp (or input and
target, or LQ and GT) whose images have the same names; or to a folder with such
folders named train, val and test."""

    def find(self, dl_manager: tfds.download.DownloadManager) -> pair_builder.Splits:
        root = pathlib.Path(dl_manager.manual_dir)
        folders = {SPLITS[p.name.lower()]: p for p in root.iterdir() if p.name.lower() in SPLITS}
        return {split: find_pairs(path) for split, path in (folders or {"train": root}).items()}
