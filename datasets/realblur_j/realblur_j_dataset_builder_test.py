"""Test of the realblur_j builder on small images in its layout."""

import tensorflow_datasets as tfds

from deblur_tf.datasets.realblur_j import realblur_j_dataset_builder


class RealBlurJTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = realblur_j_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["full_subset"]
    SPLITS = {"train": 2, "test": 1}
