"""The input of a run: the live stream, or a range of the past that comes to an end. `open_input` chooses once."""

from typing import Protocol

from consumer.kafka.range_source import RangeSource, open_range
from consumer.kafka.source import KafkaSource
from consumer.messages import Source
from consumer.metrics import Metrics
from consumer.settings import Settings


class RunInput(Protocol):
    """The input of a run."""

    @property
    def source(self) -> Source:
        """The source that the loop reads."""
        ...

    @property
    def done(self) -> bool:
        """Whether everything is known to be read and committed. Asks nobody."""
        ...

    def check_done(self) -> bool:
        """Return whether everything is read and committed; may ask the broker. The loop calls it at every turn."""
        ...

    def summary(self) -> str | None:
        """Return what was done, in a line, if there is an end to the input."""
        ...

    @property
    def exit_status(self) -> int:
        """The exit status of a run that stops now: 1 where there is an end and it was not reached."""
        ...


class LiveStream:
    """All that is written to the input topic from now on: it never ends by itself."""

    done = False
    exit_status = 0

    def __init__(self, source: Source) -> None:
        self.source = source

    def check_done(self) -> bool:
        """See `RunInput`."""
        return False

    def summary(self) -> str | None:
        """See `RunInput`."""
        return None


class PastRange:
    """A range of the input topic: the run ends once the group has committed all of it."""

    def __init__(self, source: RangeSource) -> None:
        self.source = source

    @property
    def done(self) -> bool:
        """See `RunInput`."""
        return self.source.done

    def check_done(self) -> bool:
        """See `RunInput`."""
        return self.source.finished()

    def summary(self) -> str:
        """See `RunInput`."""
        return self.source.summary()

    @property
    def exit_status(self) -> int:
        """See `RunInput`."""
        return 0 if self.done else 1


def open_input(settings: Settings, metrics: Metrics) -> RunInput:
    """Return what the settings say is to be read. Raises BrokerError where a range cannot be found."""
    properties, topic = settings.consumer_properties(), settings.input_topic
    if settings.period is None:
        return LiveStream(KafkaSource(properties, topic=topic, events=metrics))
    return PastRange(open_range(properties, topic, settings.period, events=metrics))
