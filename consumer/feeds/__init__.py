"""How the value of a message becomes a posting: JSON, envelopes, the fields of a posting. Knows neither Kafka nor the model.

`consumer/codec.py` goes through these steps in order; start reading there. Names of fields are in `names.py`.
"""
