"""Lock files in a directory that is everybody's: made by whoever comes first, shared by all users of the machine.

Linux keeps one user from opening another's file with O_CREAT in a directory like /tmp (`fs.protected_regular`), and an
umask keeps the others from writing it: so a file is opened before it is made, and one that can only be read will do,
since flock asks for no more. Nothing that stands in the place of a file is waited for (a FIFO), followed (a link) or
written to (a second name of somebody's file).
"""

import errno
import os
import stat
from contextlib import ExitStack, suppress
from pathlib import Path

_TRIES = 5
_LONGEST_TEXT = 200


def take(path: Path) -> tuple[int, bool]:
    """The file at `path`, open, and whether its lock was taken; the lock ends with the file. Raises OSError."""
    for _ in range(_TRIES):
        with ExitStack() as cleaning:
            file = _open(path)
            cleaning.callback(os.close, file)
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
                raise OSError(errno.EINVAL, "it is no plain file of its own")
            locked = _lock(file)
            # Where the directory was cleared meanwhile, others would lock another file of this name.
            if not locked or _stands_at(path, found):
                cleaning.pop_all()
                return file, locked
    raise OSError(errno.EBUSY, "it was removed again and again")


def read(file: int) -> bytes:
    """The beginning of what stands in it; nothing where that cannot be read."""
    with suppress(OSError):
        return os.pread(file, _LONGEST_TEXT, 0)
    return b""


def write(file: int, text: str) -> None:
    """Let this stand in it, and nothing else. It is for people only: a full disk, or another's file, stops nothing."""
    with suppress(OSError):
        os.ftruncate(file, 0)
        os.pwrite(file, text.encode(), 0)


def _open(path: Path) -> int:
    for _ in range(_TRIES):
        with suppress(FileNotFoundError):
            return _open_existing(path)
        with suppress(FileExistsError):
            file = _open_plainly(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            with suppress(OSError):
                os.fchmod(file, 0o666)  # whatever the umask: cron's user and an engineer share it
            return file
    raise OSError(errno.EBUSY, "it was removed again and again")


def _open_existing(path: Path) -> int:
    with suppress(OSError):  # it is another user's, or its file system can only be read
        return _open_plainly(path, os.O_RDWR)
    return _open_plainly(path, os.O_RDONLY)


def _open_plainly(path: Path, how: int) -> int:
    return os.open(path, how | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)


def _lock(file: int) -> bool:
    import fcntl  # noqa: PLC0415 - not on every system, and only one machine's refreshers need it

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _stands_at(path: Path, found: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.lstat(), found)
    except FileNotFoundError:
        return False
