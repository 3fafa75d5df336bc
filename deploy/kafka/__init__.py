"""A real Kafka for development, tests and the fault suite; see `local_kafka.py`."""
