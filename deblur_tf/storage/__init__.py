"""Arrays, checkpoints and model folders on disk."""
