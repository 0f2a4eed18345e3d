"""TFDS builders of the deblurring data sets; installed as `deblur_tf.datasets`."""
