"""Test of the reds builder on small images in its layout."""

import tensorflow_datasets as tfds

from deblur_tf.datasets.reds import reds_dataset_builder


class RedsTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = reds_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["blur_jpeg_subset", "blur_subset"]
    SPLITS = {"train": 2, "validation": 4, "val300": 2}
    OVERLAPPING_SPLITS = ["val300"]  # a part of validation
