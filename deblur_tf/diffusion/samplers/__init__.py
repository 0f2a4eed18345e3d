"""Samplers: from noise to a target, given only a denoise function."""

from deblur_tf.diffusion.samplers.base import Sampler, body_of, graph_loop, python_loop, run
from deblur_tf.diffusion.samplers.ddpm import DDPM

__all__ = ["DDPM", "Sampler", "body_of", "graph_loop", "python_loop", "run"]
