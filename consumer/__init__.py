"""The streaming service: postings in, occupations out. Start reading at `pipeline.py`; objects are built in `run.py`."""

import os

# Before PyTorch is loaded, or it is never read: OpenMP threads that wait for each other sleep instead of spinning. On a machine
# that also runs a trainer or a broker, spinning threads take the very cores they wait for: a third of the speed, measured.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Every batch has shapes of its own; oneDNN would keep a compiled kernel and its copy of the weights for a thousand of them.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
os.environ.setdefault("LRU_CACHE_CAPACITY", "64")
