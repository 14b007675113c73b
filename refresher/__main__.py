"""`python -m refresher`. One Ctrl-C ends it within a second, at any moment, whatever its threads wait for."""

import os
import signal
import sys
import threading
from types import FrameType

if sys.version_info < (3, 11):  # noqa: UP036 - whoever types python3 has whatever that is
    sys.stderr.write(
        f"Python 3.11 or newer is needed, and this is {sys.executable}. `make .venv` makes an environment: "
        "use its .venv/bin/python.\n"
    )
    raise SystemExit(2)

_GRACE = 0.7
"""Seconds, for what has begun to end in order and for the lease to be released."""
_INTERRUPTED = 130


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    # The interpreter would wait for every thread of a pool, and each of those for its peer.
    end = threading.Timer(_GRACE, os._exit, (_INTERRUPTED,))
    end.daemon = True
    end.start()
    raise KeyboardInterrupt


if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _interrupt)

from refresher.cli.main import main  # noqa: E402 - Ctrl-C must not wait for that either

raise SystemExit(main())
