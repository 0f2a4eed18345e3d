"""The text encoder of Stable Diffusion 2, which is run once, on the empty text.

OpenCLIP's ViT-H text tower without its last layer (Cherti et al., 2023). Restoration never
uses another prompt, so only the result of the encoder, [77, 1024], is stored.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import special

# The tokens of the empty text: start, end, padding.
START, END, PADDING, LENGTH = 49406, 49407, 0, 77
HEADS, EPSILON = 16, 1e-5

# (key in `transformers`, key in OpenCLIP) of each part of a layer; {n} is the layer's number.
_NAMES = {
    "norm_1": ("layers.{n}.layer_norm1", "resblocks.{n}.ln_1"),
    "out": ("layers.{n}.self_attn.out_proj", "resblocks.{n}.attn.out_proj"),
    "norm_2": ("layers.{n}.layer_norm2", "resblocks.{n}.ln_2"),
    "wide": ("layers.{n}.mlp.fc1", "resblocks.{n}.mlp.c_fc"),
    "narrow": ("layers.{n}.mlp.fc2", "resblocks.{n}.mlp.c_proj"),
}
OPENCLIP, TRANSFORMERS = "cond_stage_model.model.", "text_model."


def empty_context(
    take: Callable[[str], np.ndarray], layers: int = 23, openclip: bool = True, heads: int = HEADS
) -> np.ndarray:
    """The context that Stable Diffusion's transformers attend to without a prompt.

    Args:
      take: returns an array by its key without the prefix `OPENCLIP` or `TRANSFORMERS`.
      layers: number of layers that are run; the 24th is not.
      openclip: whether keys are those of OpenCLIP; otherwise of `transformers`.
      heads: heads of the attention.

    Returns:
      float32 [77, width].
    """
    ids = np.full(LENGTH, PADDING)
    ids[:2] = START, END
    if openclip:
        x = take("token_embedding.weight")[ids] + take("positional_embedding")
    else:
        x = take("embeddings.token_embedding.weight")[ids]
        x = x + take("embeddings.position_embedding.weight")
    x = x.astype(np.float64)
    width = x.shape[1]
    hidden = np.triu(np.full((LENGTH, LENGTH), -np.inf), 1)  # causal mask

    def part(name: str, n: int) -> tuple[np.ndarray, np.ndarray]:
        key = _NAMES[name][openclip].format(n=n)
        key = f"transformer.{key}" if openclip else f"encoder.{key}"
        return take(f"{key}.weight"), take(f"{key}.bias")

    def projections(n: int) -> tuple[np.ndarray, np.ndarray]:
        """Weight and bias of the projections to queries, keys and values, concatenated."""
        if openclip:
            key = f"transformer.resblocks.{n}.attn.in_proj_"
            return take(f"{key}weight"), take(f"{key}bias")
        keys = [f"encoder.layers.{n}.self_attn.{c}_proj" for c in "qkv"]
        weight, bias = (
            np.concatenate([take(f"{k}.{w}") for k in keys]) for w in ("weight", "bias")
        )
        return weight, bias

    def linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
        return x @ weight.T.astype(np.float64) + bias

    for n in range(layers):
        found = linear(_normalised(x, *part("norm_1", n)), *projections(n))
        query, key, value = (
            y.reshape(LENGTH, heads, width // heads).transpose(1, 0, 2)
            for y in np.split(found, 3, axis=1)
        )
        scores = query @ key.transpose(0, 2, 1) / np.sqrt(width // heads) + hidden
        seen = special.softmax(scores, axis=-1) @ value
        x = x + linear(seen.transpose(1, 0, 2).reshape(LENGTH, width), *part("out", n))
        y = linear(_normalised(x, *part("norm_2", n)), *part("wide", n))
        y = y * special.ndtr(y)  # GELU
        x = x + linear(y, *part("narrow", n))
    last = "ln_final" if openclip else "final_layer_norm"
    return _normalised(x, take(f"{last}.weight"), take(f"{last}.bias")).astype(np.float32)


def _normalised(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    x = x - x.mean(axis=-1, keepdims=True)
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + EPSILON) * weight + bias
