"""`check-config --sample`: what becomes of a few messages, judged by the codec that `run` uses. Start reading in `judge.py`.

What a message means is decided in the codec and in `consumer/feeds/`, not here.
"""
