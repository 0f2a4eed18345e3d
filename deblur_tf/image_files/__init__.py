"""Reading and writing photo files, with their metadata preserved."""
