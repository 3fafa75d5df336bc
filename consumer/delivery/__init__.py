"""From outcomes to records that have landed and offsets that are committed, one delivery mode a file. Start at `protocol.py`.

How records reach Kafka is not decided here: see `messages.py` for the seam and `kafka/` for what stands behind it.
"""
