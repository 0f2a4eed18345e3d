"""Diffusion image deblurring in TensorFlow 2 / Keras 3.

Reference implementation of "Multiscale Structure Guided Diffusion for Image
Deblurring" (ICCV 2023). Importing the package is cheap: neither TensorFlow
nor Keras is loaded before a submodule, or `Deblurrer`, is used.
"""

import importlib.machinery as _machinery
import importlib.util as _util  # gin-config 0.5 also relies on it having been imported
import pathlib as _pathlib
import sys as _sys

_CHECKOUT = _pathlib.Path(__file__).parent.parent


class _BesideThePackage:
    """Finds `deblur_tf.datasets` and `deblur_tf.gin_configs` beside the package in a checkout."""

    NAMES = ("deblur_tf.datasets", "deblur_tf.gin_configs")

    @classmethod
    def find_spec(
        cls, name: str, path: object = None, target: object = None
    ) -> _machinery.ModuleSpec | None:
        del path, target
        if name not in cls.NAMES:
            return None
        folder = _CHECKOUT / name.rpartition(".")[2]
        return _util.spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )


if (_CHECKOUT / "gin_configs").is_dir() and (_CHECKOUT / "setup.py").is_file():
    _sys.meta_path.insert(0, _BesideThePackage)  # type: ignore[arg-type]

__version__ = "0.1.0"

__all__ = ["Deblurrer", "__version__"]


def __getattr__(name: str) -> object:
    if name == "Deblurrer":
        from deblur_tf.inference.deblurrer import Deblurrer

        return Deblurrer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
