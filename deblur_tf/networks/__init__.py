"""Networks: layers that are independent of diffusion and data."""
