"""Data sets for training and evaluation, installed as `deblur_tf.datasets`."""
