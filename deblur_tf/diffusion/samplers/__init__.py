"""Samplers: from noise to a target, given only a denoise function."""

from __future__ import annotations

from collections.abc import Callable

from deblur_tf.base.errors import UsageError
from deblur_tf.diffusion.samplers.base import Sampler, graph_loop, python_loop, run, step_function
from deblur_tf.diffusion.samplers.ddpm import DDPM
from deblur_tf.diffusion.samplers.heun import Heun
from deblur_tf.diffusion.samplers.multistep import DDIM, DPMpp2M, DPMpp2MSDE

SAMPLERS: dict[str, Callable[[], Sampler]] = {
    "ddpm": DDPM,
    "ddim": DDIM,
    "dpmpp_2m": DPMpp2M,
    "dpmpp_2m_sde": DPMpp2MSDE,
    "heun": Heun,
}

__all__ = [
    "DDIM",
    "DDPM",
    "SAMPLERS",
    "DPMpp2M",
    "DPMpp2MSDE",
    "Heun",
    "Sampler",
    "step_function",
    "graph_loop",
    "named",
    "python_loop",
    "run",
]


def named(name: str, eta: float = 0.0) -> Sampler:
    """A sampler by name; `eta` is for "ddim" only.

    Raises:
      UsageError: if there is none of that name, listing all names, or if it has no `eta`.
    """
    if name not in SAMPLERS:
        raise UsageError(f"no sampler {name!r}; there are {', '.join(SAMPLERS)}")
    if name == "ddim":
        return DDIM(eta)
    if eta:
        raise UsageError(f"eta is of ddim, not of {name}")
    return SAMPLERS[name]()
