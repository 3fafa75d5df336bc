"""Formats whose schemas are in a schema registry: Avro, Protobuf and framed JSON, read and written with confluent-kafka's serdes.

Start at `choose.py`. What a posting is, and what becomes of a bad one, is not known here: see `consumer/codec.py`.
"""
