"""Measuring a model: which rows are held out, what it predicts for them, and the figures. Start at `holdout.py`.

The pages and plots that show the figures are in `report/`.
"""
