"""The input is out of reach: its broker is gone, or refuses the password. Which alert rings, and who comes back alone."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from faults.alerts import Scrapes
from faults.cluster import wait_until
from faults.processes import ConsumerProcess
from faults.suite import Delivery, Outcome, Scenario, ScenarioRun

PER_S = 100
WARM = 300
"""Records before the outage."""
LAG = "occustream_lag_messages"
RINGS = "OccustreamNothingAssigned"
RINGS_WITHIN_S = 300
ENDS_WITHIN_S = 150.0
"""From the change of the password on: the login is refused for a minute, and the client says so each half minute."""
USER = "feed-reader"


def _broker_gone(run: ScenarioRun) -> Outcome:
    return _end_broker(run)


def _broker_gone_consumer_protocol(run: ScenarioRun) -> Outcome:
    return _end_broker(run, "--kafka=group.protocol=consumer", classic=False)


def _end_broker(run: ScenarioRun, *flags: str, classic: bool = True) -> Outcome:
    """End the only broker; the consumer must say that it reads nothing, keep its lag, and go on by itself."""
    group, outage_s = run.new_group(), run.by_size(5, 60)
    consumer = group.start(0, *flags, classic=classic).wait_ready()
    with group.feed.flowing(PER_S), Scrapes({"a": consumer}) as scrapes:
        wait_until(lambda: consumer.metric("occustream_enriched_total") > WARM, "the consumer is at work")
        before, began = scrapes.mark(), time.monotonic()
        with _ended_broker(run):
            wait_until(lambda: _is_idle(consumer), "the consumer says that it reads nothing")
            noticed_s = time.monotonic() - began
            time.sleep(outage_s)
            lag_known = _has_lag(consumer)
            rings = scrapes.find_alerts(run.directory, since=before)
        again = time.monotonic()
        wait_until(lambda: group.is_ready(0), "the consumer reads again")
        back_s = time.monotonic() - again
    findings, problems = group.finish()
    problems += _judge_alerts(rings)
    if not lag_known:
        problems.append("the last known lag is not exported any more")
    if group.revived:
        problems.append("the consumer did not come back by itself")
    found = {"alerts_after_s": rings, "noticed_after_s": round(noticed_s, 1), "back_after_s": round(back_s, 1)}
    return Outcome({"outage_s": round(noticed_s + outage_s, 1)}, {**findings.as_dict(), **found}, problems)


def _password_changed(run: ScenarioRun) -> Outcome:
    """Change the password; the consumer must end with status 1 in time and say why, and go on with the new password."""
    run.cluster.set_password(USER, "first")
    group = run.new_group(servers=run.cluster.login_servers)
    consumer = group.start(0, *_login("first")).wait_ready()
    with group.feed.flowing(PER_S), Scrapes({"a": consumer}) as scrapes:
        wait_until(lambda: consumer.metric("occustream_enriched_total") > WARM, "the consumer is at work")
        before, began = scrapes.mark(), time.monotonic()
        run.cluster.set_password(USER, "second")
        wait_until(lambda: _is_idle(consumer), "the consumer says that it reads nothing")
        noticed_s = time.monotonic() - began
        rings = scrapes.find_alerts(run.directory, since=before)
        status = consumer.wait(ENDS_WITHIN_S)
        ended_s = time.monotonic() - began
        again = time.monotonic()
        group.start(0, *_login("second")).wait_ready()
        back_s = time.monotonic() - again
    findings, problems = group.finish()
    problems += _judge_alerts(rings)
    if status != 1 or "refused the login" not in consumer.log():
        problems.append(f"the consumer ended with {status}, and its log ends: {consumer.log()[-300:]}")
    found = {
        "alerts_after_s": rings,
        "noticed_after_s": round(noticed_s, 1),
        "ended_after_s": round(ended_s, 1),
        "back_after_s": round(back_s, 1),
    }
    return Outcome({"password_changes": 1}, {**findings.as_dict(), **found}, problems)


@contextmanager
def _ended_broker(run: ScenarioRun) -> Iterator[None]:
    """End the only broker, and start it again."""
    run.cluster.nodes[1].kill()
    try:
        yield
    finally:
        run.cluster.nodes[1].start()


def _login(password: str) -> list[str]:
    properties = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": USER,
        "sasl.password": password,
    }
    return [f"--kafka={name}={value}" for name, value in properties.items()]


def _is_idle(consumer: ConsumerProcess) -> bool:
    return not consumer.ready and not consumer.metric("occustream_assigned_partitions")


def _has_lag(consumer: ConsumerProcess) -> bool:
    return f"{LAG}{{" in (consumer.scrape() or "")


def _judge_alerts(rings: dict[str, int]) -> list[str]:
    if RINGS in rings and rings[RINGS] <= RINGS_WITHIN_S:
        return []
    return [f"{RINGS} does not ring within {RINGS_WITHIN_S} s; what rings: {rings}"]


EXACTLY_ONCE: tuple[Delivery, ...] = ("exactly-once",)
SCENARIOS = (
    Scenario("outage-consumer", "the same, with group.protocol=consumer", _broker_gone_consumer_protocol, short_deliveries=()),
    Scenario("outage", "the only broker is gone, and comes back", _broker_gone, short_deliveries=EXACTLY_ONCE),
    Scenario(
        "password", "the password of the consumer is changed at the broker", _password_changed, short_deliveries=EXACTLY_ONCE
    ),
)
