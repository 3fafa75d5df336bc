"""Which language a posting is in, and which ones a model understands. What follows from it is in `consumer/abstention.py`."""
