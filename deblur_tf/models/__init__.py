"""Networks. Models know no loss and no schedule."""
