"""Small networks of latents whose weights follow from their keys, here as in PyTorch."""

import zlib

import numpy as np

from deblur_tf.conversion.keys import diffusers_key
from deblur_tf.conversion.stable_diffusion import _laid_out

VAE = {"channels": (16, 32, 32), "num_res_blocks": 1, "groups": 8}
UNET = {
    "base_channels": 32,
    "channel_multipliers": (1, 2),
    "num_res_blocks": 1,
    "attention_depths": (1,),
    "head_width": 16,
    "groups": 8,
    "context_shape": (77, 24),
}
TOWER = {"width": 24, "layers": 2, "heads": 2, "words": 49408}


def array(key, shape):
    """The weight of a key, in PyTorch's layout: float64."""
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    centre = 1.0 if "norm" in key and key.endswith("weight") else 0.0
    return centre + 0.15 * rng.standard_normal(shape)


def adaptive_case():
    """A latent and kernels for it, last axis C * 5 * 5: float64."""
    rng = np.random.default_rng(3)
    return rng.standard_normal((2, 6, 9, 4)), rng.standard_normal((2, 6, 9, 100))


def torch_shape(variable):
    shape = tuple(variable.shape)
    if len(shape) == 4:
        return (shape[3], shape[2], shape[0], shape[1])
    return shape[::-1]


def keys_of(network):
    """{key in diffusers: shape in PyTorch}."""
    return {
        diffusers_key(v.path.split(f"{network.name}/", 1)[1]): torch_shape(v)
        for v in network.variables
    }


def fill(network, prefix=""):
    """Gives a network the weights of its keys."""
    for variable in network.variables:
        key = diffusers_key(variable.path.split(f"{network.name}/", 1)[1])
        value = array(prefix + key, torch_shape(variable))
        variable.assign(_laid_out(value, len(variable.shape)))
    return network


def tower_shapes(openclip, width, layers, heads, words):
    """{key: shape} of a small text tower."""
    del heads
    linear = {"out": (width, width), "wide": (4 * width, width), "narrow": (width, 4 * width)}
    found = {}
    for n in range(layers):
        names = ("ln_1", "ln_2", "attn.out_proj", "mlp.c_fc", "mlp.c_proj")
        if not openclip:
            names = ("layer_norm1", "layer_norm2", "self_attn.out_proj", "mlp.fc1", "mlp.fc2")
        start = f"transformer.resblocks.{n}" if openclip else f"encoder.layers.{n}"
        shapes = [(width,), (width,), *linear.values()]
        for name, shape in zip(names, shapes, strict=True):
            found[f"{start}.{name}.weight"] = shape
            found[f"{start}.{name}.bias"] = shape[:1]
        if openclip:
            found[f"{start}.attn.in_proj_weight"] = (3 * width, width)
            found[f"{start}.attn.in_proj_bias"] = (3 * width,)
        else:
            for c in "qkv":
                found[f"{start}.self_attn.{c}_proj.weight"] = (width, width)
                found[f"{start}.self_attn.{c}_proj.bias"] = (width,)
    last = "ln_final" if openclip else "final_layer_norm"
    found |= {f"{last}.weight": (width,), f"{last}.bias": (width,)}
    if openclip:
        return found | {
            "token_embedding.weight": (words, width),
            "positional_embedding": (77, width),
        }
    return found | {
        "embeddings.token_embedding.weight": (words, width),
        "embeddings.position_embedding.weight": (77, width),
    }
