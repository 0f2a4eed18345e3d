"""HIDE: see README.md."""

import pathlib

import tensorflow_datasets.public_api as tfds

from deblur_tf.data.folders import PairFiles, find_pairs, match
from deblur_tf.data.photos import list_images
from deblur_tf.datasets import pair_builder

VIEWS = {"test-close-ups": "close-up", "test-long-shot": "long-shot"}


class Builder(pair_builder.PairBuilder):
    """6397 training and 2025 test pairs of 1280x720 pictures of people."""

    BUILDER_CONFIGS = pair_builder.configs(
        ("full", "All pairs."), ("test", "The test pairs alone.", ("test",))
    )
    COUNTS = {"train": 6397, "test": 2025}
    HOMEPAGE = "https://github.com/joanshen0508/HA_deblur"
    # "unknown" for training images and for the flattened copy of the test set.
    EXTRA = {"view": tfds.features.ClassLabel(names=["unknown", *VIEWS.values()])}
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
Get HIDE_dataset.zip (no licence is stated) from the link at
https://github.com/joanshen0508/HA_deblur and put it, or the extracted folder
HIDE_dataset, into manual_dir. The flattened copy of the test set that comes with
MPRNet (HIDE/test/{input,target}) will do for the configuration `test`."""

    def find(self, dl_manager: tfds.download.DownloadManager) -> pair_builder.Splits:
        candidates = pair_builder.roots(dl_manager, ("HIDE_dataset.zip", "HIDE.zip", "test.zip"))
        splits = {}
        for split in self.COUNTS:
            folder = pair_builder.first_with(candidates, split)
            if folder is None:
                continue
            if (folder / "input").is_dir():
                splits[split] = find_pairs(folder)
            else:
                splits[split] = _official(folder, folder.parent / "GT")
        return splits

    def scene(self, pair: PairFiles) -> str:
        return pair.blurry.parent.name

    def extra(self, pair: PairFiles) -> dict[str, str]:
        return {"view": VIEWS.get(pair.blurry.parent.name, "unknown")}


def _official(folder: pathlib.Path, truth: pathlib.Path) -> list[PairFiles]:
    """Pairs of the official copy, where one folder holds all sharp images, matched by name."""
    blurry = list_images(folder)
    names = {path.stem for path in blurry}
    sharp = [path for path in list_images(truth) if path.stem in names]
    pairs = match(blurry, sharp, str(folder))
    return [PairFiles(f"{folder.name}-{b.stem}", b, s) for b, s in pairs]
