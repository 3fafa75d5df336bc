"""The flags of `occustream-trainer serve`, and its help."""

import argparse
import os

from trainer.cli import argument_types as arguments

DESCRIPTION = """Keep the model up with the market: watch labelled postings and the O*NET release, train a candidate when there \
is a reason to, judge it on titles that no trial was fitted to, and put it in service if it passes. Running consumers take it \
up within seconds; a rejected candidate is kept, its manifest says why ('training': 'verdict', 'reasons'), and 'promote' \
overrules the gate.

Reasons to refresh: no version is in service; --every-s has passed; --min-new rows are new; a new row has a code that the \
version in service has no posting of; the O*NET release has changed; the stream has drifted and a row is new.

--postings may name files, folders and globs in quotes ('data/*.csv'); files are read again when their time or size changes. \
Write new ones under another name and rename them: a file caught half written is tried again."""
EPILOG = """Exit status of --once: 0 promoted or nothing to do, 1 failed, 2 wrong use, 3 rejected. In a crontab:
  15 3 * * *  occustream-trainer serve --once --postings '/data/*.csv' --registry /models --state /var/lib/occustream
As a service that also learns from a topic and watches for drift:
  occustream-trainer serve --postings starter --registry /models --state /var/lib/occustream \\
    --bootstrap-servers kafka:9092 --labelled-topic postings.labelled --enriched-topic postings.enriched"""


def add_serve_flags(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the flags of `serve` beyond those of `train`."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument_group("the service").add_argument
    add("--state", type=arguments.path, required=True, metavar="DIR", help="where rows, embeddings and what was seen are kept")
    add("--once", action="store_true", help="look once, refresh if there is a reason to, and end: for cron")
    add("--every-s", type=arguments.positive, metavar="N", help="refresh at least so often, in seconds (off)")
    add("--min-new", type=arguments.positive, default=100, metavar="N", help="new rows that are a reason to refresh (100)")
    add("--min-interval-s", type=arguments.positive, default=300, metavar="N", help="seconds between refreshes at least (300)")
    add("--look-s", type=arguments.positive, default=10, metavar="N", help="seconds between looks (10)")
    add(
        "--keep",
        type=arguments.positive,
        default=10,
        metavar="N",
        help="versions kept; never fewer than the last two in service (10)",
    )
    add("--http-host", default="0.0.0.0", metavar="HOST", help="of /metrics, /livez, /readyz (0.0.0.0)")  # noqa: S104 - scraped
    add("--http-port", type=int, default=9109, metavar="N", help="of the same; 0: any free one (9109)")
    add = parser.add_argument_group("the gate").add_argument
    add("--gate-ece", type=arguments.share, default=0.05, metavar="SHARE", help="greatest expected calibration error (0.05)")
    add(
        "--gate-group-fall",
        type=arguments.share,
        default=0.02,
        metavar="SHARE",
        help="how far top-1 of a SOC major group of 30 held-out rows or more may fall; further than chance explains (0.02)",
    )
    add = parser.add_argument_group("Kafka").add_argument
    servers = os.environ.get("OCCUSTREAM_BOOTSTRAP_SERVERS")
    add("--bootstrap-servers", default=servers, metavar="LIST", help="host:port,... (OCCUSTREAM_BOOTSTRAP_SERVERS)")
    add("--labelled-topic", metavar="TOPIC", help="labelled postings to learn from, e.g. postings.labelled (none)")
    add("--enriched-topic", metavar="TOPIC", help="what consumers publish, watched for drift, not with --once (none)")
    add("--group-id", default="occustream-trainer", metavar="NAME", help="start of the names of its two consumer groups")
    add(
        "--kafka",
        action="append",
        default=[],
        type=arguments.kafka_property,
        metavar="NAME=VALUE",
        help="any librdkafka property, repeatable",
    )
    add = parser.add_argument_group("drift").add_argument
    add("--drift-window", type=arguments.positive, default=2_000, metavar="N", help="enriched events per window (2000)")
    add("--drift-psi", type=arguments.amount, default=0.25, metavar="X", help="greatest stability index by group or code (0.25)")
    add("--drift-unsure", type=arguments.share, default=0.1, metavar="X", help="greatest rise of the share not accepted (0.1)")
    add("--drift-similarity", type=arguments.share, default=0.05, metavar="X", help="greatest fall of the mean similarity (0.05)")
