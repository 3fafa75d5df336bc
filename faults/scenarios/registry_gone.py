"""The model registry is gone, emptied or unreadable, and back; and starts from a registry that is broken or hangs."""

import fcntl
import os
import shutil
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from consumer.registry.pointer import CURRENT
from faults.alerts import Scrapes
from faults.cluster import wait_until
from faults.consumer_group import ConsumerGroup
from faults.processes import ConsumerProcess
from faults.suite import Delivery, Outcome, Scenario, ScenarioRun
from schemas.artifact import EMBEDDINGS

PER_S = 100
RINGS = "OccustreamRegistryUnavailable"
RINGS_WITHIN_S = 330
ENDS_WITHIN_S = 15.0
"""From SIGTERM on, while a load hangs."""


def _unmount(root: Path) -> None:
    root.rename(root.with_name("elsewhere"))


def _empty(root: Path) -> None:
    shutil.copytree(root, root.with_name("elsewhere"))
    for path in root.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _garble(root: Path) -> None:
    shutil.copytree(root, root.with_name("elsewhere"))
    (root / CURRENT).write_bytes(b"\x00{")


def _put_a_file_in_its_place(root: Path) -> None:
    root.rename(root.with_name("elsewhere"))
    root.touch()


WAYS: Mapping[str, tuple[Callable[[Path], None], str]] = {
    "gone": (_unmount, "missing"),
    "emptied": (_empty, "missing"),
    "garbled": (_garble, "pointer"),
    "unreadable": (_put_a_file_in_its_place, "unreadable"),
}
"""By name: what is done to the registry, and the reason that the consumer counts."""


def _put_back(root: Path) -> None:
    shutil.rmtree(root) if root.is_dir() else root.unlink(missing_ok=True)
    root.with_name("elsewhere").rename(root)


def _play(run: ScenarioRun) -> Outcome:
    group, root, publisher = run.new_group(), run.publisher.registry.root, run.publisher
    consumer = group.start(0).wait_ready()
    problems, rings, back_s = [], dict[str, dict[str, int]](), 0.0
    with group.feed.flowing(PER_S):
        for name, (damage, reason) in WAYS.items():
            with Scrapes({"a": consumer}) as scrapes:
                before = scrapes.mark()
                damage(root)
                wait_until(lambda reason=reason: _count(consumer, reason) > 0, f"{name}: it is counted")  # type: ignore[misc]
                time.sleep(run.by_size(1, 10))
                rings[name] = scrapes.find_alerts(run.directory, since=before)
                _put_back(root)
            again, newest = time.monotonic(), publisher.publish()
            wait_until(lambda newest=newest: consumer.served_version == newest, f"{name}: {newest} is served")  # type: ignore[misc]
            back_s = max(back_s, time.monotonic() - again)
            problems += _judge(name, rings[name], consumer)
    consumer.stop()
    problems += _start_broken(run, group)
    ended_s = _start_hanging(run, group, problems)
    group.start(0).wait_ready()
    findings, more = group.finish()
    found = {"alerts_after_s": rings, "new_version_after_s": round(back_s, 1), "ended_while_it_hung_s": round(ended_s, 1)}
    return Outcome({"ways": list(WAYS)}, {**findings.as_dict(), **found}, [*problems, *more])


def _judge(name: str, rings: Mapping[str, int], consumer: ConsumerProcess) -> list[str]:
    problems = []
    if not rings.get(RINGS, RINGS_WITHIN_S + 1) <= RINGS_WITHIN_S:
        problems.append(f"{name}: {RINGS} does not ring within {RINGS_WITHIN_S} s; what rings: {dict(rings)}")
    if "the registry can be read again" not in consumer.log():
        problems.append(f"{name}: the log does not say that the registry can be read again")
    return problems


def _start_broken(run: ScenarioRun, group: ConsumerGroup) -> list[str]:
    """Start a consumer with a broken version in service: the version before must serve."""
    good, broken = run.publisher.registry.read_current(), run.publisher.publish()
    embeddings = run.publisher.registry.root / "versions" / broken / EMBEDDINGS
    raw = embeddings.read_bytes()
    embeddings.write_bytes(raw[:-1])
    consumer = group.start(0).wait_ready()
    served, refused = consumer.served_version, consumer.metric("occustream_reloads_total", outcome="refused", reason="digest")
    embeddings.write_bytes(raw)
    consumer.stop()
    if served == good and refused >= 1 and f"version {broken} is refused" in consumer.log():
        return []
    return [f"a start with the broken version {broken} serves {served}, not {good}, and counts {refused:.0f} as refused"]


def _start_hanging(run: ScenarioRun, group: ConsumerGroup, problems: list[str]) -> float:
    """Start a consumer whose encoder's file cannot be opened for now. Return how long it took to end on SIGTERM."""
    with _held_back(next(run.publisher.registry.root.glob("encoders/*/*.safetensors"))):
        consumer = group.start(0)
        wait_until(lambda: "loading a model version" in _readiness(consumer), "the first model is being loaded")
        time.sleep(1.0)
        if (alive := _status(consumer, "livez")) != 200:  # noqa: PLR2004 - OK
            problems.append(f"/livez answers {alive} while the first model is being loaded")
        began = time.monotonic()
        status = consumer.stop()
        ended_s = time.monotonic() - began
    if status or ended_s > ENDS_WITHIN_S:
        problems.append(f"while a load hung, SIGTERM ended the consumer after {ended_s:.0f} s with status {status}")
    return ended_s


@contextmanager
def _held_back(path: Path) -> Iterator[None]:
    """Let whoever opens a file wait: this process has a lease on it, as a file server may have. The kernel waits 45 s."""
    descriptor = os.open(path, os.O_RDWR)
    fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)  # the usual signal of a lease would end this process
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        yield
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        os.close(descriptor)


def _readiness(consumer: ConsumerProcess) -> str:
    try:
        with urllib.request.urlopen(f"{consumer.address}/readyz", timeout=5) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return str(error.read().decode())
    except (OSError, ValueError):
        return ""


def _status(consumer: ConsumerProcess, path: str) -> int:
    with urllib.request.urlopen(f"{consumer.address}/{path}", timeout=5) as answer:
        return int(answer.status)


def _count(consumer: ConsumerProcess, reason: str) -> float:
    return consumer.metric("occustream_reloads_total", outcome="unavailable", reason=reason)


EXACTLY_ONCE: tuple[Delivery, ...] = ("exactly-once",)
SCENARIOS = (Scenario("registry", "the registry is gone, emptied, unreadable, or hangs", _play, short_deliveries=EXACTLY_ONCE),)
