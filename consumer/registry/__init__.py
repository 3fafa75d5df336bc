"""Stores, checks and loads model versions, and reloads them while the consumer runs. Start at `folder.py`.

What a version computes is not here: see `model/`.
"""
