"""Figures as one self-contained HTML page and as JSON. Start at `report.py`.

The figures come from `measure/`; nothing else of the trainer is imported here.
"""
