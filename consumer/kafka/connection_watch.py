"""Notices when a connection of a Kafka client breaks: a request that was on its way then may have been sent twice."""

from confluent_kafka import KafkaError

LOG_BROKEN_CONNECTIONS = {"log.connection.close": True}
"""The client property without which a client would not log that a connection broke."""


class ConnectionWatch:
    """What one client has said of its connections. The client calls in its own `poll`."""

    def __init__(self) -> None:
        self.break_seen = False
        self.next_break_may_be_missed = False
        """librdkafka logs a break that looks the same as the last one only after half a minute."""

    def on_error(self, _error: KafkaError) -> None:
        """Take an error of the client."""
        self.break_seen = True

    def on_log(self, line: str) -> None:
        """Take a line of the client's log. A connection that is there again at once is logged but is no error."""
        if line.startswith("FAIL ") and " in state UP" in line:
            self.break_seen = self.next_break_may_be_missed = True
