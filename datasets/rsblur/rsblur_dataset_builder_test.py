"""Test of the rsblur builder on small images in its layout."""

import tensorflow_datasets as tfds

from deblur_tf.datasets.rsblur import rsblur_dataset_builder


class RsblurTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = rsblur_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["real_subset"]
    SPLITS = {"train": 2, "val": 1, "test": 1}
