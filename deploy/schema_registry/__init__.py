"""A real schema registry for development and tests: `server.py` runs it, `local_registry.py` is the command line."""
