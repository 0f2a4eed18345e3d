"""GoPro (GOPRO_Large): see README.md."""

import tensorflow_datasets.public_api as tfds

from deblur_tf.data.folders import find_pairs
from deblur_tf.datasets import pair_builder

# Pairs in each test scene. Of the training scenes only the total is checked.
TEST_SCENES = {
    "GOPR0384_11_00": 100,
    "GOPR0384_11_05": 100,
    "GOPR0385_11_01": 100,
    "GOPR0396_11_00": 100,
    "GOPR0410_11_00": 134,
    "GOPR0854_11_00": 100,
    "GOPR0862_11_00": 77,
    "GOPR0868_11_00": 100,
    "GOPR0869_11_00": 100,
    "GOPR0871_11_00": 100,
    "GOPR0881_11_01": 100,
}
# Names of the released archives: the official ones, then those of the flattened copy.
ARCHIVES = ("GOPRO_Large.zip", "GoPro.zip", "train.zip", "test.zip")


class Builder(pair_builder.PairBuilder):
    """2103 training and 1111 test pairs of 1280x720 video frames."""

    BUILDER_CONFIGS = pair_builder.configs(
        ("blur", "Blurry images without gamma correction, as nearly all papers use them."),
        ("blur_gamma", "Blurry images with a gamma-corrected camera response."),
    )
    COUNTS = {"train": 2103, "test": sum(TEST_SCENES.values())}
    SCENES = {"test": TEST_SCENES}
    HOMEPAGE = "https://seungjunnah.github.io/Datasets/gopro"
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
Get GOPRO_Large.zip (about 9 GB; CC BY 4.0 by its project site) from
https://seungjunnah.github.io/Datasets/gopro and put it, or the extracted folder
GOPRO_Large, into manual_dir. The flattened copy that comes with MPRNet and
Restormer (train.zip and test.zip, or {train,test}/{input,target}) will do for
the configuration `blur`."""

    def find(self, dl_manager: tfds.download.DownloadManager) -> pair_builder.Splits:
        layouts = [(self.builder_config.blurry, "sharp")]
        if self.builder_config.blurry == "blur":
            layouts.append(("input", "target"))
        candidates = pair_builder.roots(dl_manager, ARCHIVES)
        splits = {}
        for split in self.COUNTS:
            if (folder := pair_builder.first_with(candidates, split)) is not None:
                splits[split] = find_pairs(folder, layouts)
        return splits
