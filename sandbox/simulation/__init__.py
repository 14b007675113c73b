"""Months of faults in seconds: traces of weather, and both refreshers in them."""
