"""The ground floor: errors, types, files, the two backends and the registry of names."""
