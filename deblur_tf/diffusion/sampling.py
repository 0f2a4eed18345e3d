"""How a model is sampled: sampler, number of steps and schedule in one object."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from deblur_tf.base.errors import UsageError
from deblur_tf.base.registry import configurable, resumable
from deblur_tf.diffusion import samplers
from deblur_tf.diffusion.samplers import Sampler
from deblur_tf.diffusion.schedules import (
    LINEAR,
    MIN_LOG_SNR,
    SPACED,
    STABLE_DIFFUSION_STEPS,
    Schedule,
    inference_schedule,
    spaced_schedule,
)


@configurable
@resumable("steps", "beta_max", "n_samples", "sampler", "eta")
@dataclasses.dataclass(frozen=True)
class SamplingSettings:
    """How to sample from a model; each model is stored with the settings that suit it best.

    Attributes:
      steps: sampling steps.
      beta_max: largest noise variance of a step; None: `inference_beta_max(steps)`.
      n_samples: number of samples that are averaged.
      sampler: name of one of `samplers.SAMPLERS`.
      eta: used by the sampler "ddim" only, see `samplers.DDIM`.
    """

    steps: int = 20
    beta_max: float | None = None
    n_samples: int = 1
    sampler: str = "ddpm"
    eta: float = 0.0

    def __post_init__(self) -> None:
        if self.n_samples < 1:
            raise UsageError(f"n_samples must be 1 or more, got {self.n_samples}")
        self.schedule()
        self.build_sampler()

    def build_sampler(self) -> Sampler:
        """The sampler called `sampler`, with `eta`.

        Raises:
          UsageError: if there is none of that name, or it has no `eta`.
        """
        return samplers.named(self.sampler, self.eta)

    @property
    def evaluations(self) -> int:
        """Evaluations of the network that one restored image takes."""
        return self.n_samples * self.build_sampler().evaluations(self.steps)

    def schedule(self, kind: str = LINEAR) -> Schedule:
        """The schedule to sample over.

        Args:
          kind: kind of schedule that the model was trained with: LINEAR, or SPACED, which
            has no beta_max.

        Raises:
          UsageError: if these settings are not possible with that kind.
        """
        if kind == SPACED:
            if self.beta_max is not None:
                raise UsageError("the schedule of this model is fixed: it has no beta_max")
            return spaced_schedule(self.steps)
        return inference_schedule(self.steps, self.beta_max)

    def describe(self, kind: str = LINEAR) -> str:
        """The settings in one phrase, with a hint about wasted steps; `kind` as for `schedule`."""
        schedule = self.schedule(kind)
        text = f"{self.steps} step(s) of {self.sampler}, beta_max {schedule.betas[-1]:g}, "
        if kind == SPACED:
            text = f"{self.steps} of {STABLE_DIFFUSION_STEPS} steps, {self.sampler}, "
        text += f"{self.n_samples} sample(s)"
        if schedule.pure_noise_steps:
            text += (
                f"; {schedule.pure_noise_steps} of the steps see nothing but noise (log-SNR below "
                f"{MIN_LOG_SNR:g}): a smaller beta_max makes better use of them"
            )
        return text

    def but(
        self,
        steps: int | None = None,
        beta_max: float | None = None,
        n_samples: int | None = None,
        sampler: str | None = None,
        eta: float | None = None,
    ) -> SamplingSettings:
        """These settings with the given values replaced.

        With another number of steps, beta_max returns to its default for that number, unless
        it is given too.
        """
        if beta_max is None and steps in (None, self.steps):
            beta_max = self.beta_max
        return SamplingSettings(
            self.steps if steps is None else steps,
            beta_max,
            self.n_samples if n_samples is None else n_samples,
            self.sampler if sampler is None else sampler,
            # With another sampler, eta returns to zero unless it is given.
            (self.eta if sampler in (None, self.sampler) else 0.0) if eta is None else eta,
        )


# Default when a model names no settings.
DEFAULT_SAMPLING = SamplingSettings()


def sampling_grid(
    steps: Sequence[int],
    beta_maxes: Sequence[float],
    low: float = 0.0,
    high: float = math.inf,
) -> tuple[tuple[int, float], ...]:
    """Combinations (steps, beta_max) with low <= steps * beta_max / 2 <= high.

    -steps * beta_max / 2 is about log(alpha_bar_T): below 5 sampling would not
    start from pure noise, above 50 most steps would be spent in it. With these
    two bounds the rule gives each row of icDPM's Table 12 its printed number of
    marks.
    """
    return tuple(
        (t, beta) for t in steps for beta in beta_maxes if low <= round(t * beta / 2, 9) <= high
    )
