"""RSBlur: see README.md."""

import tensorflow_datasets.public_api as tfds

from deblur_tf.datasets import pair_builder


class Builder(pair_builder.PairBuilder):
    """8878 training, 1120 validation and 3360 test pairs of really blurred photographs."""

    BUILDER_CONFIGS = pair_builder.configs(("real", "Photographs of the long exposure."))
    COUNTS = {"train": 8878, "val": 1120, "test": 3360}
    HOMEPAGE = "http://cg.postech.ac.kr/research/rsblur/"
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
Get RSBlur.zip (CC BY 4.0) from https://github.com/rimchang/RSBlur, and the list
files RSBlur_real_train.txt, RSBlur_real_val.txt and RSBlur_real_test.txt from
datalist/RSBlur there. Put them, and the archive or its extracted folder RSBlur,
into manual_dir."""

    def find(self, dl_manager: tfds.download.DownloadManager) -> pair_builder.Splits:
        candidates = pair_builder.roots(dl_manager, ("RSBlur.zip",))
        splits = {}
        for split in self.COUNTS:
            listing = pair_builder.first_with(candidates, f"RSBlur_real_{split}.txt")
            if listing is not None:
                splits[split] = pair_builder.listed(listing, candidates, "/gt/", "/real_blur/")
        return pair_builder.existing(splits, self.builder_config, "RSBlur.zip")
