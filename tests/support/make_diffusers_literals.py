"""Makes tests/support/data/diffusers_literals.json: what diffusers' schedulers do, step by step.

Needs PyTorch and diffusers, which the tests do not. The denoiser is the ideal one of
Gaussian data; noise comes from a formula, so that it is the same everywhere.

  python tests/support/make_diffusers_literals.py
"""

import json
import math
import pathlib

import numpy as np
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

STEPS, MEAN, STDDEV = 8, 0.3, 0.5
BETAS = np.linspace(1e-6, 0.6, STEPS)
BARS = np.cumprod(1 - BETAS)
START = torch.tensor([[[[-1.2, 0.1], [0.7, 1.9]]]], dtype=torch.float64)


def noise(t):
    """A stand-in for the noise on the way to x_t, [1, 1, 2, 2]."""
    values = [[math.sin(5 * t + k) for k in row] for row in ((1, 2), (3, 4))]
    return torch.tensor([[values]], dtype=torch.float64)


def ideal(x, t):
    """E[noise | x_t] for data of N(MEAN, STDDEV^2); t counts from 0."""
    level, sigma = math.sqrt(BARS[t]), math.sqrt(1 - BARS[t])
    return sigma * (x - level * MEAN) / (BARS[t] * STDDEV**2 + sigma**2)


def scheduler(make, **settings):
    made = make(
        trained_betas=BETAS,
        num_train_timesteps=STEPS,
        timestep_spacing="trailing",
        **settings,
    )
    made.set_timesteps(STEPS)
    return made


def trajectory(made, x=START, **settings):
    """x after each step."""
    found = []
    for t in made.timesteps:
        more = {"variance_noise": noise(int(t))} if settings.get("noisy") else {}
        more |= {"eta": settings["eta"]} if "eta" in settings else {}
        x = made.step(ideal(x, int(t)), t, x, **more).prev_sample
        found.append(x.reshape(-1).tolist())
    return found


def main():
    dpm = {"final_sigmas_type": "zero"}
    made = {
        "ddim": trajectory(scheduler(DDIMScheduler, clip_sample=False)),
        "ddim_eta": trajectory(scheduler(DDIMScheduler, clip_sample=False), eta=0.5, noisy=True),
        "dpmpp_2m": trajectory(
            scheduler(DPMSolverMultistepScheduler, algorithm_type="dpmsolver++", **dpm)
        ),
        "dpmpp_2m_sde": trajectory(
            scheduler(DPMSolverMultistepScheduler, algorithm_type="sde-dpmsolver++", **dpm),
            noisy=True,
        ),
    }
    path = pathlib.Path(__file__).parent / "data" / "diffusers_literals.json"
    path.write_text(json.dumps(made, indent=1) + "\n")
    print({name: rows[-1] for name, rows in made.items()})


if __name__ == "__main__":
    main()
