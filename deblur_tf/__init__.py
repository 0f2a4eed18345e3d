"""Diffusion image deblurring in TensorFlow 2 / Keras 3.

Reference implementation of "Multiscale Structure Guided Diffusion for Image
Deblurring" (ICCV 2023). Importing the package is cheap: neither TensorFlow
nor Keras is loaded before a submodule needs it.
"""

# gin-config 0.5 uses importlib.util without importing it.
import importlib.util  # noqa: F401

__version__ = "0.1.0"
