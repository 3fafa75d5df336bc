"""The trainer: labelled postings in, a published model version out. Start reading at `train.py`."""
