"""The log of a process: one format on standard error, without the chatter of libraries."""

import logging
import sys

NOISY_LIBRARIES = ("httpx", "httpx2", "sentence_transformers", "transformers", "huggingface_hub")


def start_logging(level: str) -> None:
    """Log to standard error from `level` on (a name such as INFO); libraries only log warnings and errors."""
    logging.basicConfig(level=level, stream=sys.stderr, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    for name in NOISY_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
