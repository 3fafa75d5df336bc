"""Writes the records of outcomes and commits offsets. Each delivery mode is a file; start at `protocol.py`.

Nothing here calls Kafka itself: it uses the protocols of `messages.py`, which `kafka/` implements.
"""
