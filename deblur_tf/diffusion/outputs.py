"""What a denoiser's output stands for: one object in place of scattered switches.

A form says how the noisy target enters the network, which noise follows from the
network's output, and what that output should have been. It knows no network and no
loss. `noisy` = l * target + sigma * noise, with l the noise level and
sigma^2 = 1 - l^2; `known` is what is known of the target beforehand: the blurry image
where the sharp image diffuses, zero where a residual does. All are [B, H, W, C], l is
[B].
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import gin
import keras
from keras import ops

Tensor = Any


class Output(Protocol):
    """The contract of a form."""

    def scale(self, noisy: Tensor, noise_level: Tensor, known: Tensor) -> Tensor:
        """What the network sees in place of `noisy`: [B, H, W, C]."""

    def noise(self, result: Tensor, noisy: Tensor, noise_level: Tensor, known: Tensor) -> Tensor:
        """The noise that the network's output stands for: [B, H, W, C]."""

    def wanted(self, target: Tensor, noise: Tensor, noise_level: Tensor, known: Tensor) -> Tensor:
        """What the network's output should have been: [B, H, W, C]."""

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""


class _Form:
    """Shared serialisation; by default the network sees the noisy target itself."""

    def scale(self, noisy: Tensor, noise_level: Tensor, known: Tensor) -> Tensor:
        """See `Output.scale`."""
        del noise_level, known
        return noisy

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> _Form:
        """The inverse of `get_config`."""
        return cls(**config)


@gin.register
@keras.saving.register_keras_serializable(package="deblur_tf")
@dataclasses.dataclass(frozen=True)
class Noise(_Form):
    """The output is the noise, as in the papers (eq. 3; DvSR eq. 5)."""

    def noise(self, result: Tensor, noisy: Tensor, noise_level: Tensor, known: Tensor) -> Tensor:
        """See `Output.noise`."""
        del noisy, noise_level, known
        return result

    def wanted(self, target: Tensor, noise: Tensor, noise_level: Tensor, known: Tensor) -> Tensor:
        """See `Output.wanted`."""
        del target, noise_level, known
        return noise


@gin.register
@keras.saving.register_keras_serializable(package="deblur_tf")
@dataclasses.dataclass(frozen=True)
class Velocity(_Form):
    """The output is v = l * noise - sigma * target (Salimans and Ho, 2022).

    The noise follows as sigma * noisy + l * v. The network need not learn to copy its
    noisy input, and an L1 on v is the papers' L1 on the noise over l: very noisy
    targets, where structure is decided, get their share.
    """

    def noise(self, result: Tensor, noisy: Tensor, noise_level: Tensor, known: Tensor) -> Tensor:
        """See `Output.noise`."""
        del known
        level, sigma = _per_pixel(noise_level)
        return sigma * noisy + level * result

    def wanted(self, target: Tensor, noise: Tensor, noise_level: Tensor, known: Tensor) -> Tensor:
        """See `Output.wanted`."""
        del known
        level, sigma = _per_pixel(noise_level)
        return level * noise - sigma * target


@gin.register
@keras.saving.register_keras_serializable(package="deblur_tf")
@dataclasses.dataclass(frozen=True)
class Residual(_Form):
    """The output is what neither `known` nor `noisy` says of the target.

    Preconditioning as of EDM (Karras et al., 2022, sec. 5), with `known` as a second
    observation: target = known + r, where r has standard deviation s. With
    obs = noisy - l * known = l * r + sigma * noise and n^2 = l^2 s^2 + sigma^2, which
    is the variance of obs, the best linear estimate of r is (l s^2 / n^2) obs, with
    error variance s^2 sigma^2 / n^2. The network gives the rest at unit variance, F:

      target = known + (l s^2 / n^2) obs + (s sigma / n) F.

    It sees (l s / n^2) obs: pure noise, which says nothing of r, is not heard. With an
    output of zero, that of an untrained network, this is the posterior mean of a
    Gaussian r: one look at pure noise returns `known`, and many steps draw from
    N(known, s^2).

    Attributes:
      stddev: s, in units of the target: of sharp - blurry in the [-1, 1] range, or of
        DvSR's residual. 0.15 fits DvSR's camera shake.
    """

    stddev: float = 0.15

    def __post_init__(self) -> None:
        if not self.stddev > 0.0:
            raise ValueError(f"Residual: stddev must be positive, got {self.stddev}")

    def scale(self, noisy: Tensor, noise_level: Tensor, known: Tensor) -> Tensor:
        """See `Output.scale`: (l s / n^2) obs."""
        level, _, variance = self._parts(noise_level)
        return (level * self.stddev / variance) * (noisy - level * known)

    def noise(self, result: Tensor, noisy: Tensor, noise_level: Tensor, known: Tensor) -> Tensor:
        """See `Output.noise`: (sigma / n^2) obs - (l s / n) F."""
        level, sigma, variance = self._parts(noise_level)
        observed = (sigma / variance) * (noisy - level * known)
        return observed - (level * self.stddev / ops.sqrt(variance)) * result

    def wanted(self, target: Tensor, noise: Tensor, noise_level: Tensor, known: Tensor) -> Tensor:
        """See `Output.wanted`: (sigma r / s - l s noise) / n.

        This is (r - (l s^2 / n^2) obs) n / (s sigma) with obs written out: nothing
        large cancels, and nothing is divided by l or sigma.
        """
        level, sigma, variance = self._parts(noise_level)
        rest = (sigma / self.stddev) * (target - known) - level * self.stddev * noise
        return rest / ops.sqrt(variance)

    def _parts(self, noise_level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """l, sigma and n^2, each [B, 1, 1, 1]."""
        level, sigma = _per_pixel(noise_level)
        return level, sigma, (level * self.stddev) ** 2 + sigma * sigma


def check(output: Output | None) -> Output:
    """Returns the form itself; the papers' `Noise` for None.

    Raises:
      ValueError: if it is something else.
    """
    if output is not None and not isinstance(output, _Form):
        raise ValueError(
            f"output must be a form of deblur_tf.diffusion.outputs, such as @Residual() in gin, "
            f"got {output!r}"
        )
    return output or Noise()


def _per_pixel(noise_level: Tensor) -> tuple[Tensor, Tensor]:
    """l and sigma, each [B, 1, 1, 1]."""
    level = noise_level[:, None, None, None]
    return level, ops.sqrt(1.0 - level * level)
