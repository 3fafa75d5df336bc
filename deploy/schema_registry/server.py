"""A schema registry of our own: Apicurio Registry with Confluent's API, in memory, a process on the loopback interface."""

import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from deploy.background_process import BackgroundProcess
from deploy.kafka.jars import fetch_once, missing_tools, run_maven, xdg_home
from deploy.kafka.ports import HOST
from deploy.kafka.tools import INSTALL_HINT, LocalKafkaError, find_java

POM = Path(__file__).resolve().with_name("pom.xml")
START_TIMEOUT_S = 90.0
ANSWER_TIMEOUT_S = 5.0
API = "/apis/ccompat/v7"
"""Where Confluent's API is."""


class LocalRegistry(BackgroundProcess):
    """One registry over one directory. Its schemas end with its process."""

    name = "registry"

    def __init__(self, directory: Path, *, port: int | None = None) -> None:
        super().__init__(directory, port=port, start_timeout_s=START_TIMEOUT_S)

    @property
    def url(self) -> str:
        """The address for clients; it stays the same over the restarts of this instance."""
        return f"http://{HOST}:{self._port}{API}"

    @property
    def mark(self) -> str:
        """An option that the registry ignores."""
        return f"-Doccustream.directory={self.directory}"

    @property
    def environment(self) -> Mapping[str, str]:  # noqa: D102
        return {"QUARKUS_HTTP_HOST": HOST, "QUARKUS_HTTP_PORT": str(self._port)}

    def answers(self) -> bool:  # noqa: D102
        try:
            with urllib.request.urlopen(f"{self.url}/subjects", timeout=ANSWER_TIMEOUT_S) as answer:  # noqa: S310 - our own
                return bool(answer.status == 200)  # noqa: PLR2004
        except (OSError, urllib.error.URLError):
            return False

    def prepare(self) -> list[str]:  # noqa: D102
        if missing := missing_registry_tools():
            raise LocalKafkaError(f"missing: {', '.join(missing)}; {INSTALL_HINT}")
        (jar,) = fetch_once(registry_dir(), _download).glob("*-runner.jar")
        return [find_java(), "-Xmx256m", "-XX:TieredStopAtLevel=1", self.mark, "-jar", str(jar)]


def registry_version() -> str:
    """Return the version of Apicurio Registry that the pom next to this file names."""
    found = re.search(r"<apicurio\.version>([^<]+)</apicurio\.version>", POM.read_text(encoding="utf-8"))
    if found is None:
        raise LocalKafkaError(f"{POM} names no apicurio.version")
    return found.group(1)


def registry_dir() -> Path:
    """Return where the unpacked registry of this version is cached, present or not."""
    return xdg_home("XDG_CACHE_HOME", ".cache") / "occustream" / f"apicurio-registry-{registry_version()}"


def missing_registry_tools() -> list[str]:
    """Name what is missing to run a registry; with the archive cached, Maven is not needed."""
    return missing_tools(registry_dir())


def _download(target: Path) -> None:
    run_maven(
        POM, ["dependency:unpack-dependencies", f"-DoutputDirectory={target}"], what=f"Apicurio Registry {registry_version()}"
    )
