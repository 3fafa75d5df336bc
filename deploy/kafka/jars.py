"""The jars of a Kafka broker: Maven downloads them once, by the pom beside this file, into a cache of the user's."""

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from deploy.kafka.tools import INSTALL_HINT, OLDEST_JAVA, LocalKafkaError, java_version, last_lines, run_tool

DOWNLOAD_TIMEOUT_S = 900.0
POM = Path(__file__).resolve().with_name("pom.xml")


def kafka_version() -> str:
    """Return the Kafka version that the pom next to this file names."""
    found = re.search(r"<kafka\.version>([^<]+)</kafka\.version>", POM.read_text(encoding="utf-8"))
    if found is None:
        raise LocalKafkaError(f"{POM} names no kafka.version")
    return found.group(1)


def jars_dir() -> Path:
    """Return where the jars of this Kafka version are cached, present or not."""
    return xdg_home("XDG_CACHE_HOME", ".cache") / "occustream" / f"kafka-{kafka_version()}" / "libs"


def xdg_home(variable: str, default: str) -> Path:
    """Return the folder that an XDG variable names, else `default` in the user's home."""
    # The XDG specification has relative values ignored.
    value = Path(os.environ.get(variable, ""))
    return value if value.is_absolute() else Path.home() / default


def missing_tools(jars: Path | None = None) -> list[str]:
    """Name what is missing to run a broker, or what else `jars` are of; with the jars cached, Maven is not needed."""
    missing = []
    version = java_version()
    if version is None:
        missing.append(f"java >= {OLDEST_JAVA}")
    elif version < OLDEST_JAVA:
        missing.append(f"java >= {OLDEST_JAVA} (found {version})")
    if not (jars or jars_dir()).is_dir() and shutil.which("mvn") is None:
        missing.append("mvn")
    return missing


def require_tools() -> None:
    """Raise LocalKafkaError where a tool is missing."""
    if missing := missing_tools():
        raise LocalKafkaError(f"missing: {', '.join(missing)}; {INSTALL_HINT}")


def fetch_jars() -> Path:
    """Return the folder of the broker's jars, downloaded with Maven the first time."""
    return fetch_once(jars_dir(), _download)


def fetch_once(folder: Path, download: Callable[[Path], None]) -> Path:
    """Return `folder`, filled by `download` the first time: it is whole or absent, whatever interrupts the download."""
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="download-", dir=folder.parent) as parent:
        downloaded = Path(parent) / folder.name
        download(downloaded)
        try:
            downloaded.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster, with the same files
                raise
    return folder


def run_maven(pom: Path, goal: list[str], *, what: str) -> None:
    """Run a goal of Maven that downloads `what`. Raises LocalKafkaError."""
    if shutil.which("mvn") is None:
        raise LocalKafkaError(f"missing: mvn; {INSTALL_HINT}")
    print(f"Downloading {what} with Maven, once", file=sys.stderr)
    done = run_tool(["mvn", "--batch-mode", "--quiet", "--file", str(pom), *goal], DOWNLOAD_TIMEOUT_S)
    if done.returncode != 0:
        reason = re.search(r"\[ERROR\] +(\S.*)", done.stdout)
        raise LocalKafkaError(f"Maven could not download {what}: {reason[1] if reason else last_lines(done.stdout)}")


def _download(target: Path) -> None:
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={target}"]
    run_maven(POM, goal, what=f"the jars of Kafka {kafka_version()}")
    if not list(target.glob(f"kafka_*-{kafka_version()}.jar")):
        raise LocalKafkaError(f"Maven ended well but left no kafka jar in {target}")
