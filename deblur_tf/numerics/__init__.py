"""Image operations and noise, as functions of tensors."""
