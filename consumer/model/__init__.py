"""What a model version computes: from titles and bodies to occupations with probabilities. Start at `scorer.py`.

How versions are stored, checked and reloaded is not here: see `registry/`.
"""
