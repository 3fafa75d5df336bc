#!/usr/bin/env bash
# Kafka 4.4.0 (and 4.3.1) gives a read_committed reader a record that its producer aborted.
#
# It happens if the record's partition has no leader while the transaction ends: one replica, whose broker is frozen for some
# seconds. The coordinator (on another broker) tells the producer that the transaction is aborted, and never writes the abort marker
# to that partition. The next transaction of the same producer that reaches the partition commits the old record along with its own.
# Upstream: KAFKA-20734 (open). The way out is a second replica for each topic that transactions write to.
#
# Seen on 2026-11-28 with Kafka 4.4.0 and confluent-kafka 2.16.1 (librdkafka 2.16.0):
#   abort_transaction: no error
#   read_committed reads: ['aborted', 'committed']
#
# Needs Java 17, Maven and Python 3.11; three brokers on loopback, some 2 GB of memory, about two minutes.
# Exit status: 0 as described, 1 if the behaviour has changed (expected then: ['committed']).
set -euo pipefail

KAFKA=4.4.0
LOG4J=2.25.5
work=$(mktemp -d)
trap 'jobs -p | xargs -r kill -9 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check confluent-kafka==2.16.1
cat >pom.xml <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion><groupId>g</groupId><artifactId>a</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$KAFKA</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>$LOG4J</version></dependency>
  </dependencies>
</project>
POM
mvn --batch-mode --quiet -Dstyle.color=never org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
  -DincludeScope=runtime -DoutputDirectory="$work/libs"

free_ports() {
  python3 -c 'import socket
all = [socket.create_server(("127.0.0.1", 0)) for _ in range(6)]
print(*(s.getsockname()[1] for s in all))'
}
read -r b1 b2 b3 c1 c2 c3 <<<"$(free_ports)"
brokers=("$b1" "$b2" "$b3") controllers=("$c1" "$c2" "$c3")
java_kafka=(java -Xms64m -Xmx320m -XX:+UseSerialGC -cp "$work/libs/*")
id=$("${java_kafka[@]}" kafka.tools.StorageTool random-uuid 2>/dev/null | tail -n 1)

pids=()
for n in 1 2 3; do
  cat >"$n.properties" <<PROPERTIES
process.roles=broker,controller
node.id=$n
controller.quorum.voters=1@127.0.0.1:$c1,2@127.0.0.1:$c2,3@127.0.0.1:$c3
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:${brokers[n - 1]},CONTROLLER://127.0.0.1:${controllers[n - 1]}
advertised.listeners=PLAINTEXT://127.0.0.1:${brokers[n - 1]}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$work/data-$n
offsets.topic.num.partitions=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
PROPERTIES
  "${java_kafka[@]}" kafka.tools.StorageTool format --cluster-id "$id" --config "$n.properties" >"$n.format.log" 2>&1
done
for n in 1 2 3; do
  "${java_kafka[@]}" kafka.Kafka "$n.properties" >"$n.log" 2>&1 &
  pids+=("$!")
done

venv/bin/python - "127.0.0.1:$b1,127.0.0.1:$b2,127.0.0.1:$b3" "${pids[@]}" <<'PYTHON'
import os
import signal
import sys
import time

import confluent_kafka as ck
from confluent_kafka.admin import AdminClient, NewTopic

servers, pids = sys.argv[1], [int(pid) for pid in sys.argv[2:]]
admin = AdminClient({"bootstrap.servers": servers, "log_level": 2})


def wait(done, what, limit_s=90):
    end = time.monotonic() + limit_s
    while not done():
        if time.monotonic() > end:
            sys.exit(f"waited in vain: {what}")
        time.sleep(0.2)


def brokers():
    try:
        return len(admin.list_topics(timeout=5).brokers)
    except ck.KafkaException:
        return 0


def leader(topic):
    found = admin.list_topics(timeout=10).topics.get(topic)
    return found.partitions[0].leader if found and found.partitions else -1


wait(lambda: brokers() == 3, "three brokers")
producer = ck.Producer({"bootstrap.servers": servers, "transactional.id": "t", "transaction.timeout.ms": 60000, "log_level": 2})
producer.init_transactions(60)
busy = {leader("__transaction_state"), admin.describe_cluster().result(10).controller.id}
frozen = next(n for n in (3, 2, 1) if n not in busy)  # neither the coordinator nor the active controller
admin.create_topics([NewTopic("out", num_partitions=1, replica_assignment=[[frozen]])])["out"].result(30)
wait(lambda: leader("out") == frozen, "the topic")

producer.begin_transaction()
producer.produce("out", b"aborted")
producer.flush(30)
os.kill(pids[frozen - 1], signal.SIGSTOP)
wait(lambda: leader("out") < 0, "the partition is without a leader")
producer.abort_transaction(60)
print("abort_transaction: no error")
os.kill(pids[frozen - 1], signal.SIGCONT)
wait(lambda: leader("out") == frozen, "the partition has a leader again")
time.sleep(20)  # time enough for a marker that is only late

producer.begin_transaction()
producer.produce("out", b"committed")
producer.commit_transaction(60)

reader = ck.Consumer(
    {"bootstrap.servers": servers, "group.id": "r", "isolation.level": "read_committed", "auto.offset.reset": "earliest"}
)
reader.assign([ck.TopicPartition("out", 0, 0)])
read, end = [], time.monotonic() + 15
while time.monotonic() < end:
    message = reader.poll(0.5)
    if message is not None and message.error() is None:
        read.append(message.value().decode())
reader.close()
print("read_committed reads:", read)
sys.exit(read != ["aborted", "committed"])
PYTHON
