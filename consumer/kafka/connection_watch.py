"""What a Kafka client tells of connections that break, so that nobody trusts it with a request that may have been sent twice."""

from confluent_kafka import KafkaError

AUDIBLE = {"log.connection.close": True}
"""The client property without which it would not tell."""


class Breaks:
    """Listens to one client; `poll` of the client lets it speak."""

    def __init__(self) -> None:
        self.noticed = False
        self.silenced = False
        """Whether the next break may go unnoticed: for half a minute librdkafka keeps silent about one that looks the same."""

    def on_error(self, _error: KafkaError) -> None:
        """Take an error of the client."""
        self.noticed = True

    def on_log(self, line: str) -> None:
        """Take a line of the client's log: of a connection that is there again at once it tells no error."""
        if line.startswith("FAIL ") and " in state UP" in line:
            self.noticed = self.silenced = True
