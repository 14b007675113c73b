"""Secrets of the sandbox: all begin alike, so that a leak can be searched for."""

import itertools
import random
import threading

CANARY_PREFIX = "CANARY-"


class Mint:
    """Makes secrets, the same ones in every sandbox. Safe to share between threads."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._count = itertools.count(1)
        self._lock = threading.Lock()

    def make(self, kind: str) -> str:
        """A new secret."""
        with self._lock:
            return f"{CANARY_PREFIX}{kind}-{next(self._count)}-{self._random.getrandbits(128):032x}"
