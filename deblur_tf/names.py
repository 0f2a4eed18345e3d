"""Imports every module whose classes and functions gin files may name."""

from deblur_tf.data import pairs, realistic, reused, tfds_pairs  # noqa: F401
from deblur_tf.data.input import device  # noqa: F401
from deblur_tf.diffusion import losses, outputs, schedules  # noqa: F401
from deblur_tf.evaluation import protocols  # noqa: F401
from deblur_tf.metrics import aligned, fid, lpips, niqe  # noqa: F401
from deblur_tf.models import alignment, deblurdiff, deconvolved, dvsr, icdpm, inputs, regression  # noqa: F401  # noqa: F401
from deblur_tf.networks import guidance, layers, predictor, unet  # noqa: F401
from deblur_tf.training import adversarial, deconvolution, objective, optimizer, recipe  # noqa: F401
