"""Converts files of Stable Diffusion 2.1 and of DeblurDiff to model folders.

Each variable is filled exactly once, and arrays that no variable takes must be known as
unused: nothing is guessed.
"""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from deblur_tf.base.errors import DataError
from deblur_tf.base.files import sha256
from deblur_tf.conversion import keys, text
from deblur_tf.diffusion.outputs import Noise, Velocity
from deblur_tf.diffusion.sampling import SamplingSettings
from deblur_tf.models import saved
from deblur_tf.models.deblurdiff import DeblurDiff, LatentDiffusion
from deblur_tf.networks.control import ControlBranch
from deblur_tf.networks.kernels import LatentKernelPredictor
from deblur_tf.networks.latent_unet import LatentUNet
from deblur_tf.networks.vae import AutoencoderKL
from deblur_tf.storage.arrays import read_tensors

PREDICTIONS = {"epsilon": Noise(), "v": Velocity()}
SAMPLING = SamplingSettings(steps=50)
# Keys of a file that no network here needs.
_UNUSED = re.compile(
    r"^(model_ema\.|betas$|alphas_|sqrt_|log_one|posterior_|logvar$|"
    r"(cond_stage_model|clip)\.(model\.)?(model\.)?(transformer\.resblocks\.23\.|text_projection"
    r"|logit_scale|attn_mask|visual\.)|text_encoder\.text_model\.embeddings\.position_ids$)"
)


class Weights:
    """Arrays of one or several files by key; keeps track of those that were taken.

    Args:
      source: a .safetensors file, or a folder with `unet`, `vae` and `text_encoder` in the
        layout of `diffusers`.

    Raises:
      DataError: if the source cannot be read.
    """

    def __init__(self, source: str | os.PathLike[str]):
        self.source = pathlib.Path(source)
        self.folder = self.source.is_dir()
        self.arrays: dict[str, np.ndarray] = {}
        self.files: list[pathlib.Path] = []
        self.taken: set[str] = set()
        if not self.folder:
            self._read(self.source, "")
            return
        for part in ("unet", "vae", "text_encoder"):
            found = sorted((self.source / part).glob("*.safetensors"))
            whole = [p for p in found if not re.search(r"\.(fp16|non_ema)\b", p.name)] or found
            if not whole:
                raise DataError(f"{self.source / part}: no .safetensors file there")
            for path in whole:
                self._read(path, f"{part}.")

    def _read(self, path: pathlib.Path, prefix: str) -> None:
        arrays = read_tensors(path)
        self.arrays |= {prefix + key: array for key, array in arrays.items()}
        self.files.append(path)

    def take(self, *names: str) -> np.ndarray:
        """The array of the first of the keys that exists.

        Raises:
          DataError: if none exists.
        """
        for name in names:
            if name in self.arrays:
                self.taken.add(name)
                return self.arrays[name]
        raise DataError(f"{self.source}: lacks {' or '.join(names)}")

    def below(self, prefix: str) -> Callable[[str], np.ndarray]:
        """`take`, for keys without the given prefix."""
        return lambda name: self.take(prefix + name)

    def fill(self, network: keras.layers.Layer, key: Callable[[str], tuple[str, ...]]) -> None:
        """Assigns the variables of a network.

        Args:
          network: built network.
          key: maps a variable's key in `diffusers` to the keys that its array may have.

        Raises:
          DataError: naming an array that is missing or has another shape.
        """
        for variable in network.variables:
            path = variable.path.split(f"{network.name}/", 1)[1]
            names = key(keys.diffusers_key(path))
            value = _laid_out(self.take(*names), len(variable.shape))
            if value.shape != tuple(variable.shape):
                raise DataError(
                    f"{self.source}: {names[0]} is {value.shape}, and {tuple(variable.shape)} is "
                    "needed: the file is of another model"
                )
            variable.assign(value)

    def check_rest(self) -> None:
        """Refuses keys that are neither taken nor known to be unused.

        Raises:
          DataError: naming some of these keys.
        """
        rest = [k for k in self.arrays if k not in self.taken and not _UNUSED.match(k)]
        if rest:
            raise DataError(
                f"{self.source}: {len(rest)} arrays belong to no part of the model: "
                f"{', '.join(sorted(rest)[:3])}{' ...' if len(rest) > 3 else ''}"
            )


def _laid_out(array: np.ndarray, rank: int) -> np.ndarray:
    """Converts a kernel from PyTorch's layout to Keras': height, width, inputs, outputs."""
    array = np.asarray(array, np.float32)
    if array.ndim == 4 and rank == 2:  # a linear map stored as a 1x1 convolution
        array = array[:, :, 0, 0]
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    return array.T if array.ndim == 2 else array


def stable_diffusion(
    source: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    prediction: str,
    sizes: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[str]:
    """Writes the model folder of a prior: `LatentDiffusion`.

    Args:
      source: see `Weights`: a single file in CompVis' format, or a folder of `diffusers`.
      folder: folder to write.
      prediction: "epsilon" for 2.1-base, "v" for the 768 model.
      sizes: arguments of "vae", "unet" and "text" for networks of another size.

    Returns:
      One line for each file that was read, with its SHA-256.
    """
    weights, sizes = Weights(source), sizes or {}
    model = LatentDiffusion(
        AutoencoderKL(**sizes.get("vae", {})),
        LatentUNet(name="unet", **sizes.get("unet", {})),
        PREDICTIONS[prediction],
    )
    _fill_prior(model, weights, sizes.get("text", {}))
    return _written(model, weights, folder)


def deblurdiff(
    source: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    sizes: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[str]:
    """Writes the model folder of DeblurDiff's released weights, with the settings of its code.

    Arguments and result: see `stable_diffusion`; "predictor" may be in `sizes`.
    """
    weights, sizes = Weights(source), sizes or {}
    unet, predictor = sizes.get("unet", {}), sizes.get("predictor", {"base_channels": 128})
    kernels = LatentKernelPredictor(
        LatentUNet(name="unet", window=64, out_channels=100, **predictor), name="predictor"
    )
    model = DeblurDiff(
        AutoencoderKL(**sizes.get("vae", {})),
        LatentUNet(name="unet", window=64, **unet),
        ControlBranch(window=64, halve_window=False, **unet),
        kernels,
        colour="adain",
        encoded_range=(0.0, 1.0),
    )
    prefixes = {"unet": "unet.", "vae": "vae.", "text": "clip.model."}
    _fill_prior(model, weights, sizes.get("text", {}), prefixes)
    for part, prefix in ((model.control, "controlnet."), (kernels.unet, "kpn.unet.")):
        weights.fill(part, lambda k, p=part, prefix=prefix: (prefix + keys.compvis_unet_key(k, p),))
    return _written(model, weights, folder)


def _fill_prior(
    model: LatentDiffusion,
    weights: Weights,
    tower: Mapping[str, Any],
    prefixes: Mapping[str, str] | None = None,
) -> None:
    model.build()
    if weights.folder:
        weights.fill(model.unet, lambda k: (f"unet.{k}",))
        weights.fill(model.vae, lambda k: (f"vae.{k}", f"vae.{keys.old_vae_key(k)}"))
        take = weights.below(f"text_encoder.{text.TRANSFORMERS}")
    else:
        names = prefixes or {
            "unet": "model.diffusion_model.",
            "vae": "first_stage_model.",
            "text": text.OPENCLIP,
        }
        weights.fill(model.unet, lambda k: (names["unet"] + keys.compvis_unet_key(k, model.unet),))
        weights.fill(model.vae, lambda k: (names["vae"] + keys.compvis_vae_key(k, model.vae),))
        take = weights.below(names["text"])
    context = text.empty_context(take, openclip=not weights.folder, **tower)
    model.context.assign(context[None])


def _written(model: LatentDiffusion, weights: Weights, folder: str | os.PathLike[str]) -> list[str]:
    weights.check_rest()
    saved.save_model(model, folder, SAMPLING)
    return [f"{path}  sha256 {sha256(path)}" for path in weights.files]
