"""Makes latent_literals.npz and latent_keys.json.gz in `data`: what others compute and name.

Needs PyTorch, diffusers, transformers and a checkout of DeblurDiff's code with its packages
(cupy is replaced by nothing), which the tests do not.

  python -m tests.support.make_latent_literals DEBLURDIFF

The first holds results of small networks of diffusers in float64, with the weights of
tests/support/latent_case.py; the second the keys and shapes of the full-size networks, made without
memory: those of diffusers for Stable Diffusion 2.1-base, and of DeblurDiff's own.
"""

import gzip
import json
import pathlib
import sys
from unittest import mock

import numpy as np
import torch
import yaml
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from tests.support import DATA
from tests.support.latent_case import TOWER, UNET, VAE, adaptive_case, array

FULL_UNET = {
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (320, 640, 1280, 1280),
    "attention_head_dim": (5, 10, 20, 20),
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
}
FULL_VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}


def filled(module, prefix=""):
    state = {k: torch.tensor(array(prefix + k, v.shape)) for k, v in module.state_dict().items()}
    module.double().load_state_dict(state)
    return module.eval()


def nchw(x):
    return torch.tensor(x.transpose(0, 3, 1, 2))


def nhwc(x):
    return x.numpy().transpose(0, 2, 3, 1)


def autoencoder():
    n = len(VAE["channels"])
    module = filled(
        AutoencoderKL(
            block_out_channels=VAE["channels"],
            layers_per_block=1,
            norm_num_groups=8,
            down_block_types=("DownEncoderBlock2D",) * n,
            up_block_types=("UpDecoderBlock2D",) * n,
        )
    )
    image = np.random.default_rng(1).uniform(-1, 1, (2, 24, 40, 3))
    posterior = module.encode(nchw(image)).latent_dist
    return {
        "vae_mean": nhwc(posterior.mean),
        "vae_logvar": nhwc(posterior.logvar),
        "vae_image": nhwc(module.decode(posterior.mean).sample),
    }


def unet():
    module = filled(
        UNet2DConditionModel(
            in_channels=4,
            out_channels=4,
            block_out_channels=(32, 64),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=(2, 4),
            cross_attention_dim=UNET["context_shape"][1],
            norm_num_groups=8,
            use_linear_projection=True,
        )
    )
    rng = np.random.default_rng(2)
    x, context = rng.standard_normal((2, 8, 12, 4)), rng.standard_normal((2, 77, 24))
    times = torch.tensor([17, 900])
    middle = torch.tensor(rng.standard_normal((2, 64, 4, 6)))
    downs = [(32, 8, 12), (32, 8, 12), (32, 4, 6), (64, 4, 6)]
    downs = [torch.tensor(rng.standard_normal((2, *shape))) for shape in downs]
    context = torch.tensor(context)
    return {
        "unet": nhwc(module(nchw(x), times, context).sample),
        "unet_controlled": nhwc(
            module(
                nchw(x),
                times,
                context,
                down_block_additional_residuals=downs,
                mid_block_additional_residual=middle,
            ).sample
        ),
    }


def schedule():
    scheduler = DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000
    )
    return {"levels": np.sqrt(scheduler.alphas_cumprod.double().numpy())}


def tower():
    width = TOWER["width"]
    config = CLIPTextConfig(
        vocab_size=TOWER["words"],
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=TOWER["layers"],
        num_attention_heads=TOWER["heads"],
        hidden_act="gelu",
        max_position_embeddings=77,
    )
    module = filled(CLIPTextModel(config))
    ids = torch.zeros((1, 77), dtype=torch.long)
    ids[0, :2] = torch.tensor([49406, 49407])
    return {"context": module(ids).last_hidden_state.numpy()[0]}


def adaptive():
    """Patches laid out by `unfold` under kernels in the layout of DeblurDiff's."""
    x, kernel = (nchw(a) for a in adaptive_case())
    batch, channels, height, width = x.shape
    laid_out = torch.nn.functional.unfold(x, 5, padding=2)
    parts = (a.reshape(batch, channels, 25, height, width) for a in (laid_out, kernel))
    return {"adaptive": nhwc(torch.mul(*parts).sum(2))}


def shapes(module):
    return {k: list(v.shape) for k, v in module.state_dict().items()}


def released(root):
    sys.path.insert(0, str(root))
    for name in ("cupy", "xformers", "xformers.ops"):
        sys.modules[name] = mock.MagicMock()
    from model.cldm import ControlLDM

    settings = yaml.safe_load((root / "configs/inference/cldm.yaml").read_text())
    return shapes(ControlLDM(**settings["params"]))


def main(root):
    torch.set_default_dtype(torch.float64)
    with torch.no_grad():
        literals = autoencoder() | unet() | schedule() | tower() | adaptive()
    np.savez_compressed(DATA / "latent_literals.npz", **literals)
    with torch.device("meta"):
        found = {
            "unet": shapes(UNet2DConditionModel(**FULL_UNET)),
            "vae": shapes(AutoencoderKL(**FULL_VAE)),
            "deblurdiff": released(pathlib.Path(root)),
        }
    text = json.dumps(found, separators=(",", ":")).encode()
    (DATA / "latent_keys.json.gz").write_bytes(gzip.compress(text, mtime=0))


if __name__ == "__main__":
    main(sys.argv[1])
