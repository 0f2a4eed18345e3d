"""Test of the div2k_blur builder on small images in its layout."""

import tensorflow_datasets as tfds

from deblur_tf.datasets.div2k_blur import div2k_blur_dataset_builder


class Div2kBlurTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = div2k_blur_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["shake_subset"]
    SPLITS = {"train": 2, "validation": 1}
