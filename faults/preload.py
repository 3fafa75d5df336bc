"""Imports the modules that a consumer process needs, once, in the server that forks the processes."""

import sentence_transformers.sentence_transformer.modules  # noqa: F401
import transformers.utils.logging  # noqa: F401

import consumer.run  # noqa: F401
import faults.processes  # noqa: F401
