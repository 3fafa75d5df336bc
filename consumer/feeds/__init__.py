"""How the messages of feeds become the fields of a posting: names, mappings, profiles, envelopes.

Kafka, the model and the loop are elsewhere. Start reading in `fields.py`.
"""
