"""Training objectives, one module per family of models."""
