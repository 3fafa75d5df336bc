"""The flags of `occustream-trainer serve`, and its help."""

import argparse

from consumer.settings_loading import add_config_flag, add_flag
from trainer.refresh.settings import ENV_PREFIX, ServeSettings

DESCRIPTION = f"""\
Keep the model up to date with the market. The service watches labelled postings and the O*NET release. When there is a
reason to refresh, it trains a candidate and judges it on titles that no trial was fitted to. A candidate that passes this
gate is put in service, and running consumers take it up within seconds. A rejected candidate is kept. Its manifest says
why it was rejected ('training': 'verdict', 'reasons'), and 'promote' overrules the gate.

Reasons to refresh:
  - no version is in service
  - --every-s has passed
  - --min-new rows are new
  - a new row has a code that the version in service has no posting of
  - the O*NET release has changed
  - the stream has drifted and a row is new

--postings may name files, folders and globs in quotes ('data/*.csv'). A file is read again when its time or size changes.
Write new files under another name and rename them: a refresh that reads half a file may fail, and is then tried again.

The settings of the service, the gate, Kafka and drift can also be given as environment variables ({ENV_PREFIX}MIN_NEW
for --min-new) or in a TOML file (min_new = 500). A flag beats a variable, and a variable beats the file."""
EPILOG = """\
Exit status of --once: 0 promoted or nothing to do, 1 failed, 2 wrong use, 3 rejected. In a crontab:
  15 3 * * *  occustream-trainer serve --once --postings '/data/*.csv' --registry /models --state /var/lib/occustream
As a service that also learns from a topic and watches for drift:
  occustream-trainer serve --postings starter --registry /models --state /var/lib/occustream \\
    --bootstrap-servers kafka:9092 --labelled-topic postings.labelled --enriched-topic postings.enriched"""
GROUPS: dict[str, tuple[str, ...]] = {
    "the service": ("state", "once", "every_s", "min_new", "min_interval_s", "look_s", "keep", "http_host", "http_port"),
    "the gate": ("gate_ece", "gate_group_fall"),
    "Kafka": ("bootstrap_servers", "labelled_topic", "enriched_topic", "group_id", "kafka"),
    "drift": ("drift_window", "drift_psi", "drift_unsure", "drift_similarity"),
}
"""The settings under each heading of the help."""


def add_serve_flags(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the flags of `serve` beyond those of `train`."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_config_flag(parser, ServeSettings)
    for heading, names in GROUPS.items():
        group = parser.add_argument_group(heading)
        for name in names:
            add_flag(group, ServeSettings, name)
