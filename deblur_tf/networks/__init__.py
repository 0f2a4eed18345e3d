"""Networks: layers that know neither diffusion nor data."""
