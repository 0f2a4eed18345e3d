"""Test of the hide builder on small images in its layout."""

import tensorflow_datasets as tfds

from deblur_tf.datasets.hide import hide_dataset_builder


class HideTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = hide_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["full_subset"]
    SPLITS = {"train": 1, "test": 2}
