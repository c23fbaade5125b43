"""``python -m tests.trust``: the trials at length, on a fetched server, with ICU, if there is one.

TRUST_SEED makes the chance another, and TRUST_FIGURES=file.csv writes the table.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import nullcontext

from tests.trust.servers import SERVERS, VERSIONS, binaries, running


def main() -> int:
    """Run pytest; return its status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so the server stops
    newest = VERSIONS[-1]
    fetched = (SERVERS / newest).exists() and not os.environ.get("DATABASE_URL")
    with running(binaries()[newest]) if fetched else nullcontext() as server:
        environment = {**os.environ, "TRUST": "long"}
        if server is not None:
            environment["DATABASE_URL"] = server.url
        command = [sys.executable, "-m", "pytest", "-q", "tests/trust", *sys.argv[1:]]
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
