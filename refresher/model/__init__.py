"""Nouns: the values that everything else speaks of. No decision, no I/O."""
