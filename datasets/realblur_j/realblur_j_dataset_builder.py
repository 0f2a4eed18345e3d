"""RealBlur-J: see README.md."""

import tensorflow_datasets.public_api as tfds

from deblur_tf.data.folders import find_pairs
from deblur_tf.datasets import pair_builder


class Builder(pair_builder.PairBuilder):
    """3758 training and 980 test pairs of real camera shake; sizes vary."""

    BUILDER_CONFIGS = pair_builder.configs(("full", "All pairs."))
    COUNTS = {"train": 3758, "test": 980}
    HOMEPAGE = "http://cg.postech.ac.kr/research/realblur/"
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
Get RealBlur.tar.gz (13.1 GB, CC BY 4.0) from
https://github.com/rimchang/RealBlur and put it, or its extracted contents with
RealBlur_J_train_list.txt, RealBlur_J_test_list.txt and the folder
RealBlur-J_ECC_IMCORR_centroid_itensity_ref, into manual_dir. The flattened copy
of the test set that comes with MPRNet (RealBlur_J/test/{input,target}) will do
for the configuration `full_subset`."""

    def find(self, dl_manager: tfds.download.DownloadManager) -> pair_builder.Splits:
        candidates = pair_builder.roots(dl_manager, ("RealBlur.tar.gz", "RealBlur_J.zip"))
        splits = {}
        for split in self.COUNTS:
            listing = pair_builder.first_with(candidates, f"RealBlur_J_{split}_list.txt")
            flat = pair_builder.first_with(candidates, f"{split}/input")
            if listing is not None:
                splits[split] = pair_builder.listed(listing, candidates, "/gt/", "/blur/")
            elif flat is not None:
                splits[split] = find_pairs(flat.parent)
        return pair_builder.existing(splits, self.builder_config, "RealBlur.tar.gz")
