"""What a model is worth: which rows are held out, what it predicts for them, and the figures of that. Start at `holdout.py`.

The pages and plots that show the figures are in `report/`.
"""
