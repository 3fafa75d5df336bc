"""A real Kafka for development, tests and the fault suite: `broker.py` runs a node, `local_kafka.py` is the command line."""
