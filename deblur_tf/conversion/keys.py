"""Keys of the variables of latent diffusion networks in the files of other programs.

Layers have the same names as in `diffusers`, so its keys follow from a variable's path. The keys
of CompVis' single files, which DeblurDiff's weights use too, are derived from those.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from deblur_tf.networks.latent_unet import LatentEncoder
from deblur_tf.networks.vae import AutoencoderKL

_LAST = {"kernel": "weight", "gamma": "weight", "beta": "bias", "bias": "bias"}


def diffusers_key(path: str) -> str:
    """The key of a variable in `diffusers`, from the variable's path below its network."""
    *layers, variable = path.split("/")
    return ".".join([*layers, _LAST[variable]])


# Names in the autoencoder's attention in files older than diffusers 0.18.
_OLD_ATTENTION = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def old_vae_key(key: str) -> str:
    """Converts a key of `diffusers` to that of Stable Diffusion's published autoencoder files."""
    for new, old in _OLD_ATTENTION.items():
        key = key.replace(f"attentions.0.{new}.", f"attentions.0.{old}.")
    return key


Rule = tuple[str, str | Callable[[re.Match[str]], str]]


def _renamed(key: str, rules: list[Rule]) -> str:
    for pattern, replacement in rules:
        found, count = re.subn(pattern, replacement, key, count=1)
        if count:
            key = found
    return key


_BLOCK: list[Rule] = [
    (r"\.norm1\.", ".in_layers.0."),
    (r"\.conv1\.", ".in_layers.2."),
    (r"\.time_emb_proj\.", ".emb_layers.1."),
    (r"\.norm2\.", ".out_layers.0."),
    (r"\.conv2\.", ".out_layers.3."),
    (r"\.conv_shortcut\.", ".skip_connection."),
]


def compvis_unet_key(key: str, unet: LatentEncoder) -> str:
    """Converts a key of `diffusers` to that of a single file, below "model.diffusion_model."."""
    blocks, last = unet.num_res_blocks + 1, len(unet.widths) - 1

    def number(match: re.Match[str], offset: int, part: str) -> str:
        depth, i = int(match[1]), int(match[2])
        return f"{part}.{blocks * depth + i + offset}."

    def doubling(match: re.Match[str]) -> str:
        depth = int(match[1])
        place = 1 + ((last - depth) in unet.attention_depths)
        return f"output_blocks.{blocks * depth + blocks - 1}.{place}.conv."

    inside = ".resnets." in key
    rules: list[Rule] = [
        (r"^down_blocks\.(\d+)\.resnets\.(\d+)\.", lambda m: number(m, 1, "input_blocks") + "0."),
        (
            r"^down_blocks\.(\d+)\.attentions\.(\d+)\.",
            lambda m: number(m, 1, "input_blocks") + "1.",
        ),
        (
            r"^down_blocks\.(\d+)\.downsamplers\.0\.conv\.",
            lambda m: f"input_blocks.{blocks * (int(m[1]) + 1)}.0.op.",
        ),
        (r"^mid_block\.resnets\.(\d)\.", lambda m: f"middle_block.{2 * int(m[1])}."),
        (r"^mid_block\.attentions\.0\.", "middle_block.1."),
        (r"^up_blocks\.(\d+)\.resnets\.(\d+)\.", lambda m: number(m, 0, "output_blocks") + "0."),
        (
            r"^up_blocks\.(\d+)\.attentions\.(\d+)\.",
            lambda m: number(m, 0, "output_blocks") + "1.",
        ),
        (r"^up_blocks\.(\d+)\.upsamplers\.0\.conv\.", doubling),
        (r"^conv_in\.", "input_blocks.0.0."),
        (r"^time_embedding\.linear_1\.", "time_embed.0."),
        (r"^time_embedding\.linear_2\.", "time_embed.2."),
        (r"^conv_norm_out\.", "out.0."),
        (r"^conv_out\.", "out.2."),
        (r"^controlnet_down_blocks\.(\d+)\.", r"zero_convs.\1.0."),
        (r"^controlnet_mid_block\.", "middle_block_out.0."),
    ]
    return _renamed(key, rules + (_BLOCK if inside else []))


def compvis_vae_key(key: str, vae: AutoencoderKL) -> str:
    """Converts a key of `diffusers` to that of a single file, below "first_stage_model."."""
    last = len(vae.channels) - 1
    rules: list[Rule] = [
        (r"\.down_blocks\.(\d+)\.resnets\.(\d+)\.", r".down.\1.block.\2."),
        (r"\.down_blocks\.(\d+)\.downsamplers\.0\.conv\.", r".down.\1.downsample.conv."),
        (
            r"\.up_blocks\.(\d+)\.resnets\.(\d+)\.",
            lambda m: f".up.{last - int(m[1])}.block.{m[2]}.",
        ),
        (
            r"\.up_blocks\.(\d+)\.upsamplers\.0\.conv\.",
            lambda m: f".up.{last - int(m[1])}.upsample.conv.",
        ),
        (r"\.mid_block\.resnets\.(\d)\.", lambda m: f".mid.block_{int(m[1]) + 1}."),
        (r"\.mid_block\.attentions\.0\.group_norm\.", ".mid.attn_1.norm."),
        (r"\.mid_block\.attentions\.0\.to_([qkv])\.", r".mid.attn_1.\1."),
        (r"\.mid_block\.attentions\.0\.to_out\.0\.", ".mid.attn_1.proj_out."),
        (r"\.conv_norm_out\.", ".norm_out."),
        (r"\.conv_shortcut\.", ".nin_shortcut."),
    ]
    return _renamed(key, rules)
