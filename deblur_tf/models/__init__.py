"""Models: networks wired to be conditioned, denoised and restored with. They know no loss."""
