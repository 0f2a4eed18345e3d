"""Any folder with blurry and sharp images: see README.md."""

import pathlib

import tensorflow_datasets.public_api as tfds

from deblur_tf.data.folders import find_pairs
from deblur_tf.datasets import pair_builder

# Folders of these names are splits of their own.
SPLITS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


class Builder(pair_builder.PairBuilder):
    """Pairs of one's own; give each folder a configuration name of its own."""

    BUILDER_CONFIGS = [pair_builder.PairConfig(name="pairs", description="Pairs matched by name.")]
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
Let manual_dir be a folder with the subfolders blur and sharp (or input and
target, or LQ and GT) whose images have the same names; or one with folders
train, val and test of that kind."""

    def find(self, dl_manager: tfds.download.DownloadManager) -> pair_builder.Splits:
        root = pathlib.Path(dl_manager.manual_dir)
        folders = {SPLITS[p.name.lower()]: p for p in root.iterdir() if p.name.lower() in SPLITS}
        return {split: find_pairs(path) for split, path in (folders or {"train": root}).items()}
