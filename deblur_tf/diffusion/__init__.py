"""The diffusion process, its losses and samplers. Nothing here knows a network."""
