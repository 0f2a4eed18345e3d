"""A study in which people choose the better of two pictures (icDPM Table 8, DvSR Table 3)."""
