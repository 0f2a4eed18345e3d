"""Training with adversarial alignment of two domains (icDPM app. B, a negative result).

Batches alternate between the domains: rows 0, 2, 4, ... are pairs of the first domain;
rows 1, 3, 5, ... are pairs of the second, of which only the blurry images are used.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from keras import ops

from deblur_tf.base.registry import configurable
from deblur_tf.base.types import Tensor
from deblur_tf.data.pair_source import PairSource
from deblur_tf.training.objectives.base import TrainingObjective
from deblur_tf.training.objectives.diffusion import Objective


@configurable
class AlternatingPairs(PairSource):
    """Pairs with even numbers from one source, with odd numbers from another.

    Args:
      first: builds the source of the domain on which the model is trained.
      second: builds the source of the other domain.
    """

    # A batch must hold equally many pairs of each, and a row must always have the same domain.
    batch_multiple = 2
    reads = "data set"

    def __init__(self, first: Callable[[], PairSource], second: Callable[[], PairSource]):
        self.sources = (first(), second())
        sizes = {source.crop_size for source in self.sources}
        if len(sizes) > 1:
            raise ValueError(f"both domains need one crop size, got {sorted(sizes)}")
        self.crop_size = self.sources[0].crop_size

    def describe(self) -> str:
        """A phrase for the first line that a run prints."""
        return " against ".join(source.describe() for source in self.sources)

    def __call__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Pair number index // 2 of source index % 2."""
        return self.sources[index % 2](index // 2)


@configurable
@dataclasses.dataclass(frozen=True)
class AlignedObjective(TrainingObjective):
    """The usual loss on the first domain, plus the loss of the discriminators on both.

    Attributes:
      objective: the usual loss.
      weight: weight of the discriminators' mean cross-entropy, whose gradient to
        the guidance network is reversed.
    """

    finetunes: ClassVar[bool] = True

    objective: Objective = Objective()
    weight: float = 0.01

    def __call__(
        self, model: Any, blurry: Tensor, sharp: Tensor, step: Tensor, items: Tensor
    ) -> dict[str, Tensor]:
        """As `Objective`, for a model with `domain_logits`: float32 [B] each."""
        domain = ops.cast(items % 2, "float32")
        # Half of the examples count for the usual loss, with twice the weight.
        first = 2.0 * (1.0 - domain)
        condition, draws = self.objective.condition(model, blurry, step, items)
        usual = self.objective.loss(model, condition, draws, sharp, step)
        figures = {name: first * values for name, values in usual.items()}
        losses = [
            ops.softplus(logits) - domain * logits
            for logits in model.domain_logits(condition.guidance)
        ]
        adversarial = sum(losses) / len(losses)
        loss = figures["loss"] + self.weight * adversarial
        return figures | {"loss": loss, "adversarial": adversarial}
