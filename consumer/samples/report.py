"""Shows on the terminal what becomes of sample messages, and says in words what to set."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, get_args

from rich.console import Console
from rich.table import Table
from rich.text import Text

from consumer.feeds.json_values import write_json
from consumer.samples.judge import SCORED, Fit, Judgement, Outcome

MAX_SHOWN = 20
"""So many messages are shown; of more, dead letters come first."""
MAX_VALUE_CHARS = 100
"""So much of a value is shown."""
WIDTH = 140
"""The width of the table where standard output is no terminal."""
OTHER_FIELDS = (("company", "company"), ("location", "location"), ("posted_at", "date"), ("language", "language"))


def show_judgements(judgements: Sequence[Judgement], console: Console) -> None:
    """Print a table of what was found in each message, and how many there are of each kind."""
    table = Table("message", "becomes", "field", "value", title_justify="left")
    shown = sorted(judgements, key=lambda each: each.outcome != "dead letter") if len(judgements) > MAX_SHOWN else judgements
    for each in shown[:MAX_SHOWN]:
        rows = _describe(each)
        for number, (name, value) in enumerate(rows):
            first = (_place(each), each.outcome) if number == 0 else ("", "")
            table.add_row(*map(Text, (*first, name, value)), end_section=number == len(rows) - 1)
    console.print(table)
    if len(judgements) > MAX_SHOWN:
        console.print(f"{len(judgements) - MAX_SHOWN:,} more are not shown.", highlight=False)
    console.print(_count(judgements), highlight=False)


def advise(present: Fit, best: tuple[str, Fit], profile: str | None, *, count: int) -> str:
    """Return in words which profile fits best, and how to set it."""
    name, fit = best
    if name == profile:
        return f"The profile in use, {name}, fits best: {_describe_fit(fit, count)}."
    fits = fit.signs or fit.found == count * len(SCORED)  # else it found by chance what has the same name
    if fits and fit > present and fit.found >= present.found:
        return (
            f"Profile {name} fits best: {_describe_fit(fit, count)}. "
            f'Set --profile {name}, OCCUSTREAM_PROFILE={name}, or profile = "{name}".'
        )
    way_out = "" if present.good == count else " A mapping names other places of fields, as in --mapping title=job.name."
    return f"No profile finds more than the present settings: {_describe_fit(present, count)}.{way_out}"


def make_console() -> Console:
    """Return standard output as a terminal, or as a file with lines of a fixed width."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)


def _describe_fit(fit: Fit, count: int) -> str:
    return f"{fit.good:,} of {_number(count, 'message')} would be enriched or are deletes, {fit.found:,} fields found that count"


def _describe(judgement: Judgement) -> list[tuple[str, str]]:
    posting, rows = judgement.posting, []
    if judgement.envelopes:
        rows.append(("envelope", ", ".join(judgement.envelopes)))
    if judgement.detail:
        rows.append(("why", judgement.detail))
    if posting is not None:
        body = "none" if posting.body is None else f"{len(posting.body):,} characters: {_shorten(posting.body)}"
        own_id = "" if "posting_id" in judgement.found else " (the message's key or place: it has none of its own)"
        rows += [("title", _shorten(posting.title)), ("body", body), ("id", f"{posting.posting_id}{own_id}")]
        values = [(label, getattr(posting, name)) for name, label in OTHER_FIELDS]
        rows += [(label, _shorten(value)) for label, value in values if value is not None]
    return rows


def _shorten(value: Any) -> str:  # noqa: ANN401 - any JSON value
    text = " ".join((value if isinstance(value, str) else write_json(value).decode()).split())
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[: MAX_VALUE_CHARS - 1]}…"


def _place(judgement: Judgement) -> str:
    message = judgement.message
    return f"{message.topic}:{message.partition}:{message.offset}"


def _count(judgements: Sequence[Judgement]) -> str:
    counts = Counter(each.outcome for each in judgements)
    kinds = ", ".join(_number(counts[kind], kind) for kind in get_args(Outcome))
    return f"{_number(len(judgements), 'message')}: {kinds}."


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
