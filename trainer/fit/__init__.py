"""How a model is made from data: embeddings, parts, losses, encoders, weights and thresholds. Start at `model.py`.

`measure/` decides which rows are held out, and measures how good a model is.
"""
