"""Records: what follows from the other fields is stored, and everything has a form in JSON."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

from vi_kl.core.records import WORKING, plain, store


@dataclasses.dataclass(frozen=True)
class Inner:
    values: np.ndarray
    maker: object = dataclasses.field(default=None, metadata=WORKING)


@dataclasses.dataclass(frozen=True)
class Outer:
    inner: Inner
    number: float
    words: tuple[str, ...] = ()
    table: dict = dataclasses.field(default_factory=dict)
    sentence: str = dataclasses.field(init=False, repr=False)

    def __post_init__(self):
        store(self, sentence=f"The number is {self.number}.")


def test_a_record_is_its_json():
    values = np.array([[1.5, np.nan], [np.inf, -2.0]])
    record = Outer(
        Inner(values, print), np.float64(-np.inf), ("a",), {"x": jnp.arange(2), "y": np.bool_(True), 3: None}
    )
    assert plain(record) == {
        "inner": {"values": [[1.5, None], [None, -2.0]]},
        "number": None,
        "words": ["a"],
        "table": {"x": [0, 1], "y": True, 3: None},
        "sentence": "The number is -inf.",
    }
    assert json.loads(json.dumps(plain(record), allow_nan=False))["inner"]["values"][1] == [None, -2.0]
    assert plain(dataclasses.asdict(dataclasses.replace(record, inner=Inner(values)))) == {
        **plain(record),
        "inner": {"values": [[1.5, None], [None, -2.0]], "maker": None},
    }


def test_what_follows_is_computed_anew_by_replace_and_cannot_be_given():
    record = Outer(Inner(np.zeros(1)), 1.0)
    assert dataclasses.replace(record, number=2.0).sentence == "The number is 2.0."
    with pytest.raises(TypeError, match="sentence"):
        Outer(Inner(np.zeros(1)), 1.0, sentence="A lie.")
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.sentence = "A lie."


def test_what_has_no_form_in_json_is_named():
    with pytest.raises(TypeError, match="A builtin_function_or_method has no form in JSON"):
        plain(Outer(Inner(np.zeros(1)), 1.0, table={"f": print}))
