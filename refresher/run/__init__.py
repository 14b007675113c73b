"""One refresh from beginning to end, and the tick that does it for every connection."""
