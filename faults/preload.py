"""What a consumer process needs, imported once, before it is forked."""

import sentence_transformers.sentence_transformer.modules  # noqa: F401
import transformers.utils.logging  # noqa: F401

import consumer.run  # noqa: F401
import faults.processes  # noqa: F401
