"""Command-line programs: absl flags, then configuration, then one library call."""
