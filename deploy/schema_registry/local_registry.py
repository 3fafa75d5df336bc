"""A schema registry on the loopback interface, for development.

``python -m deploy.schema_registry.local_registry start|stop|status`` runs one in the background.
"""

import argparse
import sys
from pathlib import Path

from deploy.kafka.jars import xdg_home
from deploy.kafka.ports import free_port
from deploy.kafka.tools import LocalKafkaError
from deploy.schema_registry.server import LocalRegistry, registry_version

DEFAULT_PORT = 8081


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = _parser().parse_args(argv)
    try:
        return _ACTIONS[options.action](options.directory)
    except (LocalKafkaError, OSError) as error:
        print(f"local_registry: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _start(directory: Path) -> int:
    registry = LocalRegistry(directory, port=free_port(DEFAULT_PORT))
    if registry.start():
        print(f"Apicurio Registry {registry_version()} started (pid {registry.pid})")
    else:
        print(f"A schema registry already runs (pid {registry.pid})")
    print(f"Log: {registry.log_path}")
    print(f"OCCUSTREAM_SCHEMA_REGISTRY__URL={registry.url}")
    return 0


def _stop(directory: Path) -> int:
    print("Schema registry stopped" if LocalRegistry(directory).stop() else f"No schema registry runs over {directory}")
    return 0


def _status(directory: Path) -> int:
    registry = LocalRegistry(directory)
    if registry.pid is None:
        print(f"No schema registry runs over {directory}")
        return 1
    print(f"OCCUSTREAM_SCHEMA_REGISTRY__URL={registry.url}")
    return 0 if registry.answers() else 1


_ACTIONS = {"start": _start, "stop": _stop, "status": _status}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="A schema registry on the loopback interface, for development.")
    parser.add_argument("action", choices=list(_ACTIONS))
    default = xdg_home("XDG_STATE_HOME", ".local/state") / "occustream" / "schema-registry"
    parser.add_argument("--directory", type=Path, default=default, help="of its log and pid file (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
