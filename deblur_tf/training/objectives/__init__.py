"""What is minimised, one module a family of models."""
