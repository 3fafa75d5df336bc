"""How a model is made of its data: embeddings, parts, losses, encoders, weights and thresholds. Start at `model.py`.

Which rows are held out, and how good the model is, is decided in `measure/`.
"""
