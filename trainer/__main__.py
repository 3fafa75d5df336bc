"""The command `occustream-trainer`. Commands are imported only after parsing, because PyTorch takes seconds to import."""

import shlex
import sys
import traceback
from collections.abc import Sequence

from consumer.errors import ConfigError, OccustreamError
from consumer.masking import mask_addresses
from schemas.tables import TableError
from trainer.cli.parser import make_parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 failed, 2 wrong use, 3 candidate rejected (`serve --once`)."""
    options = make_parser().parse_args(arguments)
    options.command = shlex.join(["occustream-trainer", *(sys.argv[1:] if arguments is None else arguments)])
    try:
        from trainer.cli import commands  # noqa: PLC0415 - it imports PyTorch

        return commands.run_command(options)
    except ConfigError as error:
        print(f"occustream-trainer: {mask_addresses(str(error))}", file=sys.stderr)
        return 2
    except (OccustreamError, TableError) as error:
        print(f"occustream-trainer: {mask_addresses(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("occustream-trainer: interrupted; 'list' shows what is published", file=sys.stderr)
        return 130
    except Exception:
        print(mask_addresses(traceback.format_exc()), end="", file=sys.stderr)
        print("occustream-trainer: unexpected error, see above; 'list' shows what is published", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
