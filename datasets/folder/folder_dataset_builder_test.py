"""Test of the folder builder on small images in its layout."""

import tensorflow_datasets as tfds

from deblur_tf.datasets.folder import folder_dataset_builder


class FolderTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = folder_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["pairs"]
    SPLITS = {"train": 1, "test": 1}
