"""Input pipelines: pairs to batches."""
