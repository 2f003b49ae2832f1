"""The build backend of this package (PEP 517): archives of `src`, made with Python alone.

The generated half is part of both archives when `make client` has made it. A checkout without it
installs as well.
"""

import base64
import hashlib
import io
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
SOURCE = ROOT / "src"
# In a checkout the licence is that of the whole project; a source archive carries a copy.
LICENCES = (ROOT / "LICENSE", ROOT.parent.parent / "LICENSE")
# The earliest moment that a zip file can say: equal sources make equal archives.
MOMENT = (1980, 1, 1, 0, 0, 0)

Config = dict[str, Any] | None


def build_wheel(
    wheel_directory: str,
    config_settings: Config = None,
    metadata_directory: str | None = None,
) -> str:
    """Write the wheel; its file name."""
    project = _project()
    name = f"{_stem(project)}-py3-none-any.whl"
    records = []
    with zipfile.ZipFile(Path(wheel_directory) / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in _wheel_files(project):
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
            records.append(f"{path},sha256={digest.decode()},{len(content)}")
            _add(archive, path, content)
        record = f"{_stem(project)}.dist-info/RECORD"
        _add(
            archive,
            record,
            "\n".join([*records, f"{record},,", ""]).encode(),
        )
    return name


def build_sdist(sdist_directory: str, config_settings: Config = None) -> str:
    """Write the source archive; its file name."""
    project = _project()
    stem = _stem(project)
    files = {
        f"{stem}/{path.relative_to(ROOT).as_posix()}": path.read_bytes()
        for path in (
            *_sources(),
            ROOT / "pyproject.toml",
            ROOT / "README.md",
            Path(__file__),
        )
    }
    files |= {
        f"{stem}/LICENSE": _licence(),
        f"{stem}/PKG-INFO": _metadata(project),
    }
    with tarfile.open(Path(sdist_directory) / f"{stem}.tar.gz", "w:gz") as archive:
        for path, content in sorted(files.items()):
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return f"{stem}.tar.gz"


def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project


def _stem(project: dict[str, Any]) -> str:
    return f"{project['name'].replace('-', '_')}-{project['version']}"


def _sources() -> list[Path]:
    return sorted(
        path
        for path in SOURCE.rglob("*")
        if path.is_file() and path.suffix != ".pyc" and "egg-info" not in path.as_posix()
    )


def _licence() -> bytes:
    return next(path for path in LICENCES if path.exists()).read_bytes()


def _metadata(project: dict[str, Any]) -> bytes:
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {project['name']}",
        f"Version: {project['version']}",
        f"Summary: {project['description']}",
        f"License-Expression: {project['license']}",
        "License-File: LICENSE",
        f"Requires-Python: {project['requires-python']}",
        *(f"Requires-Dist: {dependency}" for dependency in project["dependencies"]),
    ]
    for extra, dependencies in project["optional-dependencies"].items():
        lines.append(f"Provides-Extra: {extra}")
        lines += [f'Requires-Dist: {name}; extra == "{extra}"' for name in dependencies]
    lines.append("Description-Content-Type: text/markdown")
    return "\n".join([*lines, "", (ROOT / project["readme"]).read_text()]).encode()


def _wheel_files(project: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    for path in _sources():
        yield path.relative_to(SOURCE).as_posix(), path.read_bytes()
    info = f"{_stem(project)}.dist-info"
    yield f"{info}/METADATA", _metadata(project)
    tags = (
        "Wheel-Version: 1.0",
        "Generator: kubegale",
        "Root-Is-Purelib: true",
        "Tag: py3-none-any",
    )
    yield f"{info}/WHEEL", "\n".join([*tags, ""]).encode()
    yield f"{info}/licenses/LICENSE", _licence()


def _add(archive: zipfile.ZipFile, path: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(path, MOMENT)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, content)
