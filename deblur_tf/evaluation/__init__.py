"""Quality figures of restored images."""
