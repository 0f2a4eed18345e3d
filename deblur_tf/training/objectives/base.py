"""The interface of training objectives."""

from __future__ import annotations

from typing import Any

from deblur_tf.base.types import Tensor


class TrainingObjective:
    """A loss with its randomness: a pure function of weights, examples and their numbers.

    All random numbers are derived from the numbers of the step and of the examples, so the
    result of a batch does not depend on how it is split over devices.
    """

    # Whether training goes on from weights that another run has learned.
    finetunes: bool = False

    def __call__(
        self, model: Any, blurry: Tensor, sharp: Tensor, step: Tensor, items: Tensor
    ) -> dict[str, Tensor]:
        """The loss of each example, and figures to monitor.

        Args:
          model: the model that is trained.
          blurry, sharp: the two parts of a batch as the pair source gives them: uint8
            [B, H, W, 3] each for images.
          step: number of optimizer steps done, an integer scalar.
          items: integer [B], number of each example in the global batch.

        Returns:
          Float32 [B] each: "loss", which is minimised, and other figures by name.

        Raises:
          ValueError: if model and objective do not fit together.
        """
        raise NotImplementedError

    def decodes(self, model: Any) -> bool:
        """Whether the loss decodes latents of this model, which takes much memory."""
        del model
        return False
