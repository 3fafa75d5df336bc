"""The command line of `occustream-trainer`: flags, their types, and what each command does. Start at `parser.py`.

No work is done here: each command calls a module such as `train.py`.
"""
