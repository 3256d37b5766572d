"""Which of a test's cases are in the default run."""

import pytest


def exhaustive_after(number: int, cases) -> list:
    """Return the cases, all after the first `number` of them for the exhaustive run only."""
    cases = list(cases)
    return cases[:number] + [exhaustive(case) for case in cases[number:]]


def exhaustive(case):
    """Return a case of `pytest.mark.parametrize` for the exhaustive run only."""
    if isinstance(case, type(pytest.param())):
        return pytest.param(*case.values, id=case.id, marks=[*case.marks, pytest.mark.exhaustive])
    values = case if isinstance(case, tuple) else (case,)
    return pytest.param(*values, marks=pytest.mark.exhaustive)
