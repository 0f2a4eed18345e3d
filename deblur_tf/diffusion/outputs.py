"""What a denoiser's output stands for: one object in place of scattered switches.

A form, or parameterisation, defines how the noisy target enters the network, how target and
noise follow from the network's output, and what that output is trained towards. It is
independent of network and loss. `noisy` = l * target + sigma * noise, with l the noise level
and sigma^2 = 1 - l^2; `known` is the prior estimate of the target: the blurry image where the
target is the sharp image, zero where it is a residual. All are [B, H, W, C], l is [B].
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple, Protocol, cast

from keras import ops

from deblur_tf.base.registry import configurable
from deblur_tf.base.types import Tensor
from deblur_tf.diffusion.process import per_pixel, predict_sharp


class Estimate(NamedTuple):
    """Target and noise as estimated by one evaluation of the network.

    Attributes:
      target, noise: float32 [B, H, W, C]; l * target + sigma * noise is the noisy target.
    """

    target: Tensor
    noise: Tensor


class Output(Protocol):
    """Interface of a form, see the module docstring."""

    def scale(self, noisy: Tensor, noise_level: Tensor, known: Tensor) -> Tensor:
        """The network's input in place of `noisy`: [B, H, W, C]."""

    def estimate(
        self, result: Tensor, noisy: Tensor, noise_level: Tensor, known: Tensor
    ) -> Estimate:
        """The target and the noise that follow from the network's output."""
        ...

    def training_target(
        self, target: Tensor, noise: Tensor, noise_level: Tensor, known: Tensor
    ) -> Tensor:
        """The training target of the network's output: [B, H, W, C]."""

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        ...


class _Form:
    """Shared serialisation; by default the network sees the noisy target itself."""

    def scale(self, noisy: Tensor, noise_level: Tensor, known: Tensor) -> Tensor:
        """See `Output.scale`."""
        del noise_level, known
        return noisy

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return dataclasses.asdict(cast(Any, self))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> _Form:
        """The inverse of `get_config`."""
        return cls(**config)


@configurable
@dataclasses.dataclass(frozen=True)
class Noise(_Form):
    """The output is the noise, as in the papers (icDPM eq. 3; DvSR eq. 5)."""

    def estimate(
        self, result: Tensor, noisy: Tensor, noise_level: Tensor, known: Tensor
    ) -> Estimate:
        """See `Output.estimate`."""
        del known
        return Estimate(predict_sharp(noisy, result, noise_level), result)

    def training_target(
        self, target: Tensor, noise: Tensor, noise_level: Tensor, known: Tensor
    ) -> Tensor:
        """See `Output.training_target`."""
        del target, noise_level, known
        return noise


@configurable
@dataclasses.dataclass(frozen=True)
class Velocity(_Form):
    """The output is v = l * noise - sigma * target (Salimans and Ho, 2022).

    The target follows as l * noisy - sigma * v, the noise as sigma * noisy + l * v. The
    network need not learn to copy its noisy input, and an L1 loss on v is the papers' L1
    loss on the noise divided by l: very noisy targets, where structure is decided, get more
    weight.
    """

    def estimate(
        self, result: Tensor, noisy: Tensor, noise_level: Tensor, known: Tensor
    ) -> Estimate:
        """See `Output.estimate`."""
        del known
        level, sigma = per_pixel(noise_level)
        return Estimate(level * noisy - sigma * result, sigma * noisy + level * result)

    def training_target(
        self, target: Tensor, noise: Tensor, noise_level: Tensor, known: Tensor
    ) -> Tensor:
        """See `Output.training_target`."""
        del known
        level, sigma = per_pixel(noise_level)
        return level * noise - sigma * target


@configurable
@dataclasses.dataclass(frozen=True)
class Residual(_Form):
    """The output is the part of the target that neither `known` nor `noisy` predicts.

    Preconditioning as in EDM (Karras et al., 2022, sec. 5), with `known` as a second
    observation: target = known + r, where r has standard deviation s. With
    obs = noisy - l * known = l * r + sigma * noise and n^2 = l^2 s^2 + sigma^2, which
    is the variance of obs, the best linear estimate of r is (l s^2 / n^2) obs, with
    error variance s^2 sigma^2 / n^2. The network gives the remainder at unit variance, F:

      target = known + (l s^2 / n^2) obs + (s sigma / n) F.

    Its input is (l s / n^2) obs: at pure noise the input vanishes, as it carries no
    information about r. With F = 0, the output of an untrained network, `target` is the
    posterior mean for a Gaussian r: one sampling step from pure noise returns `known`, and
    many steps sample from N(known, s^2).

    Attributes:
      stddev: s, the standard deviation of sharp - blurry in the [-1, 1] range, or of DvSR's
        residual. 0.15 fits DvSR's camera shake.
    """

    stddev: float = 0.15

    def __post_init__(self) -> None:
        if not self.stddev > 0.0:
            raise ValueError(f"Residual: stddev must be positive, got {self.stddev}")

    def scale(self, noisy: Tensor, noise_level: Tensor, known: Tensor) -> Tensor:
        """See `Output.scale`: (l s / n^2) obs."""
        level, _, variance = self._parts(noise_level)
        return (level * self.stddev / variance) * (noisy - level * known)

    def estimate(
        self, result: Tensor, noisy: Tensor, noise_level: Tensor, known: Tensor
    ) -> Estimate:
        """See `Output.estimate`: the target as above, noise (sigma / n^2) obs - (l s / n) F."""
        level, sigma, variance = self._parts(noise_level)
        observed = (noisy - level * known) / variance
        result = (self.stddev / ops.sqrt(variance)) * result
        return Estimate(
            known + level * self.stddev**2 * observed + sigma * result,
            sigma * observed - level * result,
        )

    def training_target(
        self, target: Tensor, noise: Tensor, noise_level: Tensor, known: Tensor
    ) -> Tensor:
        """See `Output.training_target`: (sigma r / s - l s noise) / n.

        This is (r - (l s^2 / n^2) obs) n / (s sigma) with obs expanded: no large
        terms cancel, and nothing is divided by l or sigma.
        """
        level, sigma, variance = self._parts(noise_level)
        rest = (sigma / self.stddev) * (target - known) - level * self.stddev * noise
        return rest / ops.sqrt(variance)

    def _parts(self, noise_level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """l, sigma and n^2, each [B, 1, 1, 1]."""
        level, sigma = per_pixel(noise_level)
        return level, sigma, (level * self.stddev) ** 2 + sigma * sigma


def check(output: Output | None) -> Output:
    """Returns the form itself; the papers' `Noise` for None.

    Raises:
      ValueError: if `output` is neither.
    """
    if output is not None and not isinstance(output, _Form):
        raise ValueError(
            f"output must be a form of deblur_tf.diffusion.outputs, such as @Residual() in gin, "
            f"got {output!r}"
        )
    return output or Noise()
