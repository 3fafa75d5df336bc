"""Writes enriched postings as JSON. Writers of other formats keep the type `Write`."""

from collections.abc import Callable

from consumer.errors import InvalidMessage
from consumer.feeds.json_values import write_json
from consumer.messages import Headers
from schemas.events import EnrichedPosting

Write = Callable[[EnrichedPosting], tuple[bytes, Headers]]
"""Returns the value of an enriched posting, and the headers that belong to the value. Raises InvalidMessage."""

_AFTER_POSTING = b',"occupations":'


def write_json_event(enriched: EnrichedPosting) -> tuple[bytes, Headers]:
    """Return an enriched posting as JSON, its numbers with the digits they came with. Raises InvalidMessage."""
    try:
        posting = write_json(dict(enriched.posting))
    except TypeError as error:  # a reader of another format has made something that JSON has no word for
        raise InvalidMessage("not_json", f"cannot be written as JSON: {error}", cause=error) from None
    rest = enriched.model_dump_json(exclude={"posting"}).encode()
    return rest.replace(_AFTER_POSTING, b',"posting":' + posting + _AFTER_POSTING, 1), ()
