"""The `dead-letters` command: list, show and replay what could not be enriched. Start at `commands.py`.

The consumer writes dead letters without this package: their wire format is in `dead_letter_record.py`.
"""
