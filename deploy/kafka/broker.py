"""A Kafka broker of our own in the background, and its directory: settings, records, log."""

from collections.abc import Sequence
from pathlib import Path

from deploy.background_process import BackgroundProcess
from deploy.kafka.jars import fetch_jars, require_tools
from deploy.kafka.node import LOG4J_SETTINGS, QUICK_START, Node, new_cluster_id, write_properties
from deploy.kafka.ports import HOST, answers_kafka, free_port, is_free
from deploy.kafka.tools import TOOL_TIMEOUT_S, LocalKafkaError, find_java, last_lines, run_tool

START_TIMEOUT_S = 60.0


class LocalKafka(BackgroundProcess):
    """One broker and controller over one directory.

    The data outlive the process: ``start()`` after ``stop()`` or ``kill()`` resumes with them, on the same port.
    """

    name = "broker"

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        partitions_default: int = 1,
        start_timeout_s: float = START_TIMEOUT_S,
        node: Node | None = None,
        java_options: Sequence[str] = QUICK_START,
    ) -> None:
        super().__init__(directory, port=port, start_timeout_s=start_timeout_s)
        self._node = node or Node(1, new_cluster_id(), {1: free_port()})
        self._partitions_default = partitions_default
        self._java_options = java_options

    @property
    def bootstrap_servers(self) -> str:
        """The address for clients; it stays the same over the restarts of this instance."""
        return f"{HOST}:{self._port}"

    @property
    def mark(self) -> str:  # noqa: D102
        return f"kafka.Kafka {self._config_path}"

    def answers(self) -> bool:  # noqa: D102
        return self.pid is not None and answers_kafka(self._port)

    def has_started(self) -> bool:
        """Return whether the broker says so and answers: it answers before it knows all that its data hold."""
        return "Kafka Server started" in self.log_since_start() and self.answers()

    def prepare(self) -> list[str]:  # noqa: D102
        require_tools()
        libs = fetch_jars()
        if not is_free(self._port):
            raise LocalKafkaError(f"port {self._port} of {HOST} is taken: free it, or give another one")
        self._write_settings()
        if not (self._records_dir / "meta.properties").exists():
            self._format(libs)
        return [*self._java_command(libs, "kafka.Kafka", options=[*self._java_options]), str(self._config_path)]

    @property
    def _config_path(self) -> Path:
        return self.directory / "server.properties"

    @property
    def _log4j_path(self) -> Path:
        return self.directory / "log4j2.properties"

    @property
    def _records_dir(self) -> Path:
        return self.directory / "data"

    def _write_settings(self) -> None:
        properties = self._node.broker_properties(self._port, self._records_dir, partitions_default=self._partitions_default)
        write_properties(self._config_path, properties)
        write_properties(self._log4j_path, LOG4J_SETTINGS)

    def _format(self, libs: Path) -> None:
        # "=" keeps an id that begins with a dash from being read as an option.
        arguments = ["format", f"--cluster-id={self._node.cluster_id}", "--config", str(self._config_path)]
        command = self._java_command(libs, "kafka.tools.StorageTool", options=["-Xmx128m", "-XX:TieredStopAtLevel=1"])
        done = run_tool([*command, *arguments], TOOL_TIMEOUT_S)
        if done.returncode != 0:
            raise LocalKafkaError(f"formatting {self._records_dir} failed:\n{last_lines(done.stdout)}")

    def _java_command(self, libs: Path, main_class: str, *, options: list[str]) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={self._log4j_path}"
        return [find_java(), *options, "-Djava.awt.headless=true", logging, "-cp", f"{libs}/*", main_class]
