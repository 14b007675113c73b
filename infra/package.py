"""Builds the zip that Flex Consumption takes, with its packages, and the list of what is in it; `make package`.

For Linux x86-64 and the Python that it is given (3.13 is deployed), for a place that cannot build by itself. Compiled
files name their sources by hash: a read-only mount could not replace stale ones, and packing loses dates. The same
sources make the same bytes: nothing of the day, the machine or its paths is in the zip.
"""

import argparse
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

ROOT = Path(__file__).resolve().parents[1]
APP = ("function_app.py", "host.json", "refresher")
PACKAGES = ".python_packages/lib/site-packages"
PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_28_x86_64", "any")
LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The earliest date that a zip can hold."""
OF_THE_INSTALLATION = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
"""What pip writes beside a package about how it came there: paths of this machine."""


def run(*words: str | Path) -> None:
    """A program that has to succeed."""
    # The order of a set that is compiled into a module follows the seed.
    environ = {**os.environ, "PYTHONHASHSEED": "0"}
    subprocess.run([*map(str, words)], check=True, cwd=ROOT, env=environ)  # noqa: S603 - pip, and Python's compiler


def gather(directory: Path, python: str) -> None:
    """The app and its packages, compiled, as they are deployed."""
    target = directory / PACKAGES
    options = ("--quiet", "--no-compile", "--no-deps", "--require-hashes", "--only-binary=:all:", "--target", target)
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    run(python, "-m", "pip", "install", *options, *platforms, "--requirement", ROOT / "requirements.txt")
    shutil.rmtree(target / "bin", ignore_errors=True)
    for information in target.glob("*.dist-info"):
        for name in OF_THE_INSTALLATION:
            (information / name).unlink(missing_ok=True)
    for name in APP:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, directory / name)
    # Where a traceback points to: to where the platform mounts the package, not to where it was built.
    where = ("-s", directory, "-p", "/home/site/wwwroot")
    # One process: what Python marks as shared in a compiled file follows the modules compiled before it.
    run(python, "-m", "compileall", "-q", "-q", "--invalidation-mode", "checked-hash", *where, directory)


def zipped(directory: Path, file: Path) -> str:
    """Pack a directory; the digest of the zip."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(each for each in directory.rglob("*") if each.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(directory).as_posix(), LONG_AGO)
            entry.compress_type, entry.external_attr, entry.create_system = zipfile.ZIP_DEFLATED, 0o644 << 16, 3
            archive.writestr(entry, path.read_bytes())
    return hashlib.sha256(file.read_bytes()).hexdigest()


def bill_of_materials(packages: Iterable[importlib.metadata.Distribution], version: str, digest: str) -> str:
    """CycloneDX: what the zip holds, by name, version and package address."""
    from cyclonedx.model.bom import Bom  # noqa: PLC0415 - not in the environment of the tests
    from cyclonedx.model.component import Component, ComponentType  # noqa: PLC0415
    from cyclonedx.output.json import JsonV1Dot5  # noqa: PLC0415
    from packageurl import PackageURL  # noqa: PLC0415

    bom = Bom(serial_number=uuid5(NAMESPACE_URL, digest))
    bom.metadata.timestamp = datetime(*LONG_AGO, tzinfo=UTC)
    name = "servicenow-token-refresher"
    bom.metadata.component = Component(name=name, version=version, type=ComponentType.APPLICATION, bom_ref=name)
    for package in packages:
        address = PackageURL("pypi", name=package.name.lower(), version=package.version)
        component = Component(name=package.name, version=package.version, purl=address, bom_ref=address.to_string())
        bom.components.add(component)
        bom.register_dependency(bom.metadata.component, [component])
    return str(JsonV1Dot5(bom).output_as_string(indent=2))


def main() -> int:
    """Write zip and list; print their digests."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--python", default="python3.13", help="the Python that is deployed, with pip")
    parser.add_argument("--to", type=Path, default=ROOT / "dist")
    options = parser.parse_args()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    options.to.mkdir(parents=True, exist_ok=True)
    package = options.to / f"servicenow-token-refresher-{version}.zip"
    with tempfile.TemporaryDirectory() as directory:
        gather(Path(directory), options.python)
        digest = zipped(Path(directory), package)
        packages = importlib.metadata.distributions(path=[str(Path(directory, PACKAGES))])
        listed = package.with_suffix(".cdx.json")
        listed.write_text(bill_of_materials(packages, version, digest), "utf-8")
    for file in (package, listed):
        print(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}  {file.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
