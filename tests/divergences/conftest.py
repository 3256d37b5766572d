"""What the tests of divergences share: they compile quickly, and most of their cases are a tier of their own.

The divergences import nothing of vi_kl but its core (`test_layering.py` holds them to it), so that no change elsewhere
can break them. The default run therefore has the first case of each test that takes less than about a second; the
others are marked `divergences`, and `.ci/run` runs them where the core or the divergences have changed.
"""

from pathlib import Path

import pytest

HERE = Path(__file__).parent
TIERS = ("divergences", "exhaustive")


@pytest.fixture(autouse=True, scope="module")
def all_compiled_quickly(compiled_quickly):
    """The divergences are many small programs, each run a few times."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark all cases of a test but the first as `divergences`, unless the test marks some of its cases itself."""
    tests = {}
    for item in items:
        if item.path.is_relative_to(HERE):
            tests.setdefault(item.nodeid.split("[")[0], []).append(item)
    for cases in tests.values():
        if not any(case.get_closest_marker("divergences") for case in cases):
            by_default = [case for case in cases if not any(case.get_closest_marker(tier) for tier in TIERS)]
            for case in by_default[1:]:
                case.add_marker(pytest.mark.divergences)
