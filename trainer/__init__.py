"""The trainer: it makes a model version from labelled postings and publishes it. Start reading at `train.py`."""
