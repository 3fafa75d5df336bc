"""The log of a process: one format on standard error, without the chatter of libraries."""

import logging
import sys

from consumer.masking import mask_addresses

NOISY_LIBRARIES = ("httpx", "httpx2", "sentence_transformers", "transformers", "huggingface_hub")


def start_logging(level: str) -> None:
    """Log to standard error from `level` on (a name such as INFO); libraries only log warnings and errors."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Masked("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    for name in NOISY_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)


class _Masked(logging.Formatter):
    """Formats lines without the users and passwords of addresses."""

    def format(self, record: logging.LogRecord) -> str:
        return mask_addresses(super().format(record))
