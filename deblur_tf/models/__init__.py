"""Models: networks combined for conditioning, denoising and restoration, without any loss."""
