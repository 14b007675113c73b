"""The order in which threads load what takes long to load, in a cold process: one after the other.

Side by side each import takes as long as both, since one interpreter runs them: what is waited for first comes last.
"""

import threading

one_at_a_time = threading.Lock()
"""Held while a library is loaded; who comes later begins when that is through, while requests are under way."""
