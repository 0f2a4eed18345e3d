"""The diffusion process, its losses and samplers, independent of any network."""
