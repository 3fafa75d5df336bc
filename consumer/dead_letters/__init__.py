"""The `dead-letters` command: lists, shows and replays messages that could not be enriched. Start at `commands.py`.

The consumer writes dead letters without this package: their wire format is in `dead_letter_record.py`.
"""
