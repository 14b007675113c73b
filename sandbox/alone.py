"""What of the machine reaches the sandbox: a list of what may. The rest of an environment may be production's.

A proxy, a vault's address, a sign-in or a trusted authority in the shell would send requests elsewhere, or fail them.
A list of what may not would lack the next name. Making the environment (`make .venv`) keeps everything: the packages
may be behind that proxy.
"""

import os
import tempfile
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

KEPT = (
    # who, where, and how a terminal speaks
    *("HOME", "LANG", "LANGUAGE", "LC_*", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER"),
    *("COLORTERM", "COLUMNS", "LINES", "NO_COLOR", "DISPLAY", "WAYLAND_DISPLAY", "XDG_*"),
    # what programs need to start at all: libraries in odd places, Windows
    *("LD_*", "DYLD_*", "SYSTEMROOT", "SYSTEMDRIVE", "COMSPEC", "PATHEXT", "TEMP", "TMP", "USERPROFILE", "APPDATA"),
)
_THE_SHELL_S_OWN = ("BASHOPTS", "EUID", "IFS", "OLDPWD", "PPID", "PS1", "PS2", "PWD", "SHELLOPTS", "SHLVL", "UID", "_")
_PROGRAMS = ("az", "azd", "curl", "python", "python3")


def kept(environ: Mapping[str, str], also: Iterable[str] = ()) -> dict[str, str]:
    """What is left of an environment. `also` are more names, patterns allowed."""
    patterns = (*KEPT, *also)
    return {name: value for name, value in environ.items() if any(fnmatchcase(name, each) for each in patterns)}


def be_alone(also: Iterable[str] = ()) -> None:
    """Forget the rest of this process's environment, and with it that of all that it starts."""
    for name in os.environ.keys() - kept(os.environ, also).keys():
        del os.environ[name]
    if "TMPDIR" in os.environ:
        # One that is not there, or is meant from this folder, is somewhere else for every process.
        os.environ["TMPDIR"] = tempfile.gettempdir()


def shell_lines() -> str:
    """The same for a POSIX shell that reads a file, with its aliases and functions of the names that a drill types."""
    names = " ".join(_PROGRAMS)
    return f"""\
for sandbox_name in $(env | sed -n 's/^\\([A-Za-z_][A-Za-z0-9_]*\\)=.*/\\1/p'); do
  case $sandbox_name in
    {"|".join((*KEPT, *_THE_SHELL_S_OWN))}) ;;
    *) unset "$sandbox_name" 2>/dev/null || : ;;
  esac
done
for sandbox_name in {names}; do
  unalias "$sandbox_name" 2>/dev/null || :
  unset -f "$sandbox_name" 2>/dev/null || :
done
unset sandbox_name
"""
