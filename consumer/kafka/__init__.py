"""Everything that talks to Kafka: reading as a group member, writing, transactions. Start at `source.py`.

What a message means, and when an offset may be committed, is decided outside: see `codec.py` and `delivery/`.
"""
