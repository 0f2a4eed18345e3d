"""Diffusion image deblurring in TensorFlow 2 / Keras 3.

Reference implementation of "Multiscale Structure Guided Diffusion for Image
Deblurring" (ICCV 2023). Importing the package is cheap: neither TensorFlow
nor Keras is loaded before a submodule, or `Deblurrer`, is used.
"""

import importlib as _importlib
import importlib.machinery as _machinery
import importlib.util as _util  # gin-config 0.5 also relies on it having been imported
import os as _os
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

if "DEBLUR_TF_PROGRAM" in _os.environ:  # a process that one of the programs has started
    from deblur_tf.base import quiet as _quiet

    _quiet.start()

__version__ = "0.1.0"

# Public names and their modules; a module is imported when one of its names is first used.
_PUBLIC = {
    "configurable": "base.registry",
    "resumable": "base.registry",
    "PairSource": "data.pair_source",
    "PairGenerator": "data.pairs",
    "RealisticPairs": "data.realistic",
    "open_photos": "data.photos",
    "random_crop": "data.augment",
    "Estimate": "diffusion.outputs",
    "Noise": "diffusion.outputs",
    "Residual": "diffusion.outputs",
    "Velocity": "diffusion.outputs",
    "SAMPLERS": "diffusion.samplers",
    "samplers": "diffusion.samplers",
    "Sampler": "diffusion.samplers",
    "SamplingSettings": "diffusion.sampling",
    "inference_schedule": "diffusion.schedules",
    "Deblurrer": "inference.deblurrer",
    "PerImage": "metrics.base",
    "DvSR": "models.dvsr",
    "GuidedDiffusion": "models.icdpm",
    "Regression": "models.regression",
    "Restoration": "models.restoration",
    "sample_keys": "models.restoration",
    "DiffusionRestorer": "models.restorer",
    "RegressionRestorer": "models.restorer",
    "conv": "networks.injections",
    "load_model": "models.saved",
    "save_model": "models.saved",
    "BlindWiener": "networks.blind_wiener",
    "MultiscaleGuidance": "networks.guidance",
    "UNet": "networks.unet",
    "to_model_range": "numerics.image_ops",
    "to_uint8": "numerics.image_ops",
    "Objective": "training.objectives.diffusion",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> object:
    if name in _PUBLIC:
        from deblur_tf.base import quiet

        with quiet.library():
            module = _importlib.import_module(f"deblur_tf.{_PUBLIC[name]}")
        return module if _PUBLIC[name].endswith(f".{name}") else getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
