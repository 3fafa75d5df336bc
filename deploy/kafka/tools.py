"""Java and Maven on this machine: finding them, running them, and the error that says what is missing."""

import os
import re
import shutil
import subprocess
from pathlib import Path

OLDEST_JAVA = 17
TOOL_TIMEOUT_S = 60.0
LOG_LINES_SHOWN = 15
INSTALL_HINT = (
    "install a JDK and Maven (Debian/Ubuntu: apt-get install openjdk-17-jre-headless maven; "
    "macOS: brew install openjdk maven), or point KAFKA_BOOTSTRAP_SERVERS at a broker of yours"
)


class LocalKafkaError(RuntimeError):
    """The broker cannot be fetched, started or stopped; the message says why and what to do."""


def find_java() -> str:
    """Return the path of java: of JAVA_HOME where that is set, else of the PATH."""
    home = os.environ.get("JAVA_HOME")
    if home and (Path(home) / "bin" / "java").is_file():
        return str(Path(home) / "bin" / "java")
    return shutil.which("java") or "java"


def java_version() -> int | None:
    """Return the major version of Java, or None where there is none."""
    try:
        done = run_tool([find_java(), "-version"], TOOL_TIMEOUT_S)
    except (OSError, LocalKafkaError):
        return None
    found = re.search(r'version "(?:1\.)?(\d+)', done.stdout)
    return int(found.group(1)) if found else None


def run_tool(command: list[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; its standard output holds its errors, too. Raises LocalKafkaError after the timeout."""
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LocalKafkaError(f"{Path(command[0]).name} did not end within {timeout_s:.0f} s") from None


def last_lines(text: str) -> str:
    """Return the last `LOG_LINES_SHOWN` lines."""
    return "\n".join(text.splitlines()[-LOG_LINES_SHOWN:])
