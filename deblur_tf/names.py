"""Imports every module whose classes and functions gin files may name."""

from deblur_tf.data import pairs, realistic, reused, tfds_pairs, window_spectra  # noqa: F401
from deblur_tf.data.input import device  # noqa: F401
from deblur_tf.diffusion import losses, outputs, sampling  # noqa: F401
from deblur_tf.evaluation import protocols  # noqa: F401
from deblur_tf.metrics import aligned, fid, lpips, niqe  # noqa: F401
from deblur_tf.models import alignment, deblurdiff, deconvolved, dvsr, icdpm, inputs, regression  # noqa: F401
from deblur_tf.networks import guidance, layers, predictor, unet  # noqa: F401
from deblur_tf.training import optimizer, recipe  # noqa: F401
from deblur_tf.training.objectives import adversarial, deconvolution, diffusion, latent  # noqa: F401
