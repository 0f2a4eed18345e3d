"""Photo files in and out, without losing what is not pixels."""
