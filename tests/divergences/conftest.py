"""The divergences are many small programs, each run a few times."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def all_compiled_quickly(compiled_quickly):
    pass
