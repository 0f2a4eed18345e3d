"""What training minimises: the contract of objectives."""

from __future__ import annotations

from typing import Any

from deblur_tf.base.types import Tensor


class TrainingObjective:
    """A loss with its randomness, as a pure function of weights, examples and numbers.

    Everything random is drawn from the numbers of step and examples, so that a batch gives one
    result however it is split over devices.
    """

    def __call__(
        self, model: Any, blurry: Tensor, sharp: Tensor, step: Tensor, items: Tensor
    ) -> dict[str, Tensor]:
        """The loss of each example, and figures to watch.

        Args:
          model: the model that is trained.
          blurry, sharp: the two parts of a batch as the pair source gives them: uint8
            [B, H, W, 3] each for images.
          step: number of optimizer steps done, an integer scalar.
          items: integer [B], each example's number in the global batch.

        Returns:
          Float32 [B] each: "loss", which is minimised, and others by name.

        Raises:
          ValueError: if model and objective do not go together.
        """
        raise NotImplementedError

    def decodes(self, model: Any) -> bool:
        """Whether the loss decodes latents of this model, which takes much memory."""
        del model
        return False
