"""The streaming service: postings in, occupations out. Start reading at `pipeline.py`; objects are built in `__main__.py`."""
