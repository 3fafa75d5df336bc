"""Notices that brokers refuse a client's login, and ends the process when they go on doing so.

The client itself would try again for ever. A process that is started again reads its secrets again.
"""

import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError

from consumer.errors import BrokerError
from consumer.kafka.reasons import LOGIN_REFUSED

END_AFTER_S = 60.0
"""A login that was refused for so long is given up. A broker that starts, or a password that is being changed, needs less."""
QUIET_S = 45.0
"""Without a refusal for so long, logins are taken again: a client tries every 10 s, and tells the same error every 30 s."""
SERVED_TIMES = 20
"""So many events of a client are served at most, to hear why its connections fail."""
NO_LOGIN_YET = "OAUTHBEARER token"
"""In the text of an error that no broker has made: the client could not get a token to log in with."""


class LoginWatch:
    """What one client has said of its logins. The client calls `on_error` in its own `poll`."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first_at: float | None = None
        self._last_at = 0.0
        self._error = self._other = ""

    def on_error(self, error: KafkaError) -> None:
        """Take an error of the client."""
        if error.code() not in LOGIN_REFUSED or NO_LOGIN_YET in error.str():
            if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - that says no more than we know
                self._other = error.str()
            return
        now = self._clock()
        if self._first_at is None or now - self._last_at > QUIET_S:
            self._first_at = now
        self._last_at, self._error = now, error.str()

    @property
    def reason(self) -> str:
        """The last refusal in brackets, to end a text with; empty if logins are taken."""
        refused = self._first_at is not None and self._clock() - self._last_at <= QUIET_S
        return f" ({self._error})" if refused else ""

    def ask(self, client: Any) -> str:  # noqa: ANN401 - confluent_kafka is untyped
        """Return why the client's connections fail, a refused login before all; empty where nothing is known.

        The client tells its errors only when it is polled.
        """
        for _ in range(SERVED_TIMES):
            if self._error:
                break
            client.poll(0.01)
        return self._error or self._other

    def check(self) -> None:
        """Raise BrokerError if logins have been refused for END_AFTER_S, with the reason of the last refusal."""
        if self._first_at is None or self._last_at - self._first_at < END_AFTER_S:
            return
        if self._clock() - self._last_at > QUIET_S:
            self._first_at = None
            return
        raise BrokerError(
            f"brokers have refused the login for {self._last_at - self._first_at:.0f} s ({self._error}); "
            "check the credentials and certificates among the Kafka properties, then start again"
        )
