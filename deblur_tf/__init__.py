"""Diffusion image deblurring in TensorFlow 2 / Keras 3.

Reference implementation of "Multiscale Structure Guided Diffusion for Image
Deblurring" (ICCV 2023). Importing the package is cheap: neither TensorFlow
nor Keras is loaded before a submodule, or `Deblurrer`, is used.
"""

# gin-config 0.5 uses importlib.util without importing it.
import importlib.util  # noqa: F401
import pathlib as _pathlib

# In a plain checkout `datasets` and `gin_configs` lie beside the package, not inside it.
_checkout = _pathlib.Path(__file__).parent.parent
if (_checkout / "gin_configs").is_dir() and (_checkout / "setup.py").is_file():
    __path__.append(str(_checkout))

__version__ = "0.1.0"

__all__ = ["Deblurrer", "__version__"]


def __getattr__(name: str) -> object:
    if name == "Deblurrer":
        from deblur_tf.inference.deblurrer import Deblurrer

        return Deblurrer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
