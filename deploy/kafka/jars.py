"""The jars of a Kafka broker: Maven downloads them once, by the pom beside this file, into a cache of the user's."""

import os
import re
import shutil
import sys
import tempfile
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


def missing_tools() -> list[str]:
    """Name what is missing to run a broker; with the jars cached, Maven is not needed."""
    missing = []
    version = java_version()
    if version is None:
        missing.append(f"java >= {OLDEST_JAVA}")
    elif version < OLDEST_JAVA:
        missing.append(f"java >= {OLDEST_JAVA} (found {version})")
    if not jars_dir().is_dir() and shutil.which("mvn") is None:
        missing.append("mvn")
    return missing


def require_tools() -> None:
    """Raise LocalKafkaError where a tool is missing."""
    if missing := missing_tools():
        raise LocalKafkaError(f"missing: {', '.join(missing)}; {INSTALL_HINT}")


def fetch_jars() -> Path:
    """Return the folder of the broker's jars, downloaded with Maven the first time."""
    libs = jars_dir()
    if libs.is_dir():
        return libs
    libs.parent.mkdir(parents=True, exist_ok=True)
    # Downloaded beside its place and renamed: the cache is whole or absent, whatever interrupts the download.
    with tempfile.TemporaryDirectory(prefix="download-", dir=libs.parent) as parent:
        download = Path(parent) / libs.name
        _download(download)
        try:
            download.rename(libs)
        except OSError:
            if not libs.is_dir():  # else another process was faster, with the same jars
                raise
    return libs


def _download(target: Path) -> None:
    if shutil.which("mvn") is None:
        raise LocalKafkaError(f"missing: mvn; {INSTALL_HINT}")
    print(f"Downloading the jars of Kafka {kafka_version()} with Maven, once", file=sys.stderr)
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={target}"]
    done = run_tool(["mvn", "--batch-mode", "--quiet", "--file", str(POM), *goal], DOWNLOAD_TIMEOUT_S)
    if done.returncode != 0:
        reason = re.search(r"\[ERROR\] +(\S.*)", done.stdout)
        raise LocalKafkaError(f"Maven could not download the jars: {reason[1] if reason else last_lines(done.stdout)}")
    if not list(target.glob(f"kafka_*-{kafka_version()}.jar")):
        raise LocalKafkaError(f"Maven ended well but left no kafka jar in {target}")
