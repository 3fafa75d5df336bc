"""A real single-node Apache Kafka on the loopback interface, for development.

``python -m deploy.kafka.local_kafka start|stop|status`` runs one in the background.
"""

import argparse
import sys
import time
from pathlib import Path

from deploy.kafka.broker import LocalKafka
from deploy.kafka.jars import kafka_version, xdg_home
from deploy.kafka.ports import free_port
from deploy.kafka.tools import LocalKafkaError

DEFAULT_PORT = 9092


def default_data_dir() -> Path:
    """Return where the broker of ``make kafka`` keeps its data, log and pid file."""
    return xdg_home("XDG_STATE_HOME", ".local/state") / "occustream" / "kafka"


def _start(data_dir: Path, port: int | None, *, partitions_default: int) -> int:
    wanted = port if port is not None else free_port(DEFAULT_PORT)
    kafka = LocalKafka(data_dir, port=wanted, partitions_default=partitions_default)
    begun = time.monotonic()
    if kafka.start():
        print(f"Kafka {kafka_version()} started in {time.monotonic() - begun:.1f} s (pid {kafka.pid})")
    else:
        print(f"Kafka already runs (pid {kafka.pid})")
    print(f"Log: {kafka.log_path}")
    print(f"KAFKA_BOOTSTRAP_SERVERS={kafka.bootstrap_servers}")
    return 0


def _stop(data_dir: Path) -> int:
    kafka = LocalKafka(data_dir)
    pid = kafka.pid
    print(f"Kafka stopped (pid {pid})" if kafka.stop() else f"No Kafka runs over {kafka.directory}")
    return 0


def _status(data_dir: Path) -> int:
    kafka = LocalKafka(data_dir)
    if kafka.pid is None:
        print(f"No Kafka runs over {kafka.directory}")
        return 1
    healthy = kafka.answers()
    print(f"Kafka runs (pid {kafka.pid})" if healthy else f"Kafka runs (pid {kafka.pid}) but does not answer")
    print(f"KAFKA_BOOTSTRAP_SERVERS={kafka.bootstrap_servers}")
    return 0 if healthy else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="A single-node Kafka on the loopback interface, for development.")
    parser.add_argument("action", choices=["start", "stop", "status"])
    parser.add_argument("--data-dir", type=Path, default=default_data_dir(), help="default: %(default)s")
    parser.add_argument("--port", type=_port, help=f"default: {DEFAULT_PORT} when free, else a free one")
    parser.add_argument("--partitions-default", type=_count, default=1, metavar="N", help="default: %(default)s")
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 1 <= port < 1 << 16:
        raise argparse.ArgumentTypeError(f"not a port: {text}")
    return port


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"not a positive number: {text}")
    return count


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = _parser().parse_args(argv)
    try:
        if options.action == "start":
            return _start(options.data_dir, options.port, partitions_default=options.partitions_default)
        return _stop(options.data_dir) if options.action == "stop" else _status(options.data_dir)
    except (LocalKafkaError, OSError) as error:
        print(f"local_kafka: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
