"""The refresh service: watches files and topics, trains a candidate, and promotes it if it is no worse. Start at `run.py`.

How a model is trained is not here: the service calls the same functions as `train`.
"""
