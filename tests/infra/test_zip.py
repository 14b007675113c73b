"""The zip of `make package`: the same bytes from the same files, whoever packs them, wherever and whenever."""

import os
import zipfile
from pathlib import Path

from infra.package import APP, zipped
from tests.infra.snapshots import ROOT

FILES = {"host.json": b"{}", "refresher/__init__.py": b"", "refresher/z.py": b"1", "a.py": b"2"}


def packed(directory: Path, names: list[str], *, mode: int, date: int) -> str:
    for name in names:
        path = directory / "app" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(FILES[name])
        path.chmod(mode)
        os.utime(path, (date, date))
    return zipped(directory / "app", directory / "package.zip")


def test_order_dates_and_rights_of_the_files_change_nothing(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    first = packed(one, list(FILES), mode=0o600, date=10**9)
    assert packed(other, list(reversed(FILES)), mode=0o755, date=2 * 10**9) == first
    with zipfile.ZipFile(one / "package.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == FILES


def test_what_is_packed_is_what_is_deployed() -> None:
    assert set(APP) == {"function_app.py", "host.json", "refresher"}
    assert all((ROOT / name).exists() for name in APP)
