"""How model versions are stored, checked, loaded and taken up while the consumer runs. Start at `folder.py`.

What a version computes is not here: see `model/`.
"""
