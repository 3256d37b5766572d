"""Probabilities with labels: pandas Series and DataFrames, xarray DataArrays; and NumPy arrays with a mask.

Labels name the symbols, so two arguments are compared label by label, whatever their order: a symbol that one of
them does not list has probability 0 there, as one that `value_counts` has not met. Entries that are only numbered,
0, 1, 2, ..., by both are compared by position. A masked entry is unknown, and not 0.
"""

import sys
from typing import NamedTuple

import numpy as np


class Labelled(NamedTuple):
    """An array with the labels of each axis (a pandas Index, or None) and, for xarray, the axes' names."""

    values: np.ndarray
    labels: tuple
    dims: tuple = ()


def plain_arrays(axis: int, named: dict) -> dict:
    """Return the named arguments without labels, entries with the same label at the same place of `axis`.

    Raises:
        ValueError: there is a mask, labels occur twice or cannot be matched, or batches are in different orders.
    """
    for name, value in named.items():
        reject_mask(name, value)
    found = {name: labelled(value) for name, value in named.items()}
    if sum(one is not None for one in found.values()) == 2:
        found = dict(zip(named, aligned(axis, found), strict=True))
    return {name: value if found[name] is None else found[name].values for name, value in named.items()}


def labelled(value) -> Labelled | None:
    """Return the value and its labels; None if it has none.

    Neither pandas nor xarray is imported for this.
    """
    pandas, xarray = sys.modules.get("pandas"), sys.modules.get("xarray")
    if pandas is not None and isinstance(value, getattr(pandas, "Series", ())):
        return Labelled(value.to_numpy(dtype=float, na_value=np.nan), (value.index,))
    if pandas is not None and isinstance(value, getattr(pandas, "DataFrame", ())):
        return Labelled(value.to_numpy(dtype=float, na_value=np.nan), (value.index, value.columns))
    if xarray is not None and isinstance(value, getattr(xarray, "DataArray", ())):
        return Labelled(np.asarray(value.data), tuple(value.indexes.get(dim) for dim in value.dims), value.dims)
    return None


def reject_mask(name: str, value) -> None:
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError(
            f"{name} has {int(np.ma.count_masked(value))} masked entries, whose probabilities are not known. Fill them"
            f" ({name}.filled(0) where they are 0), or drop them."
        )


def aligned(axis: int, found: dict) -> list[Labelled]:
    (p_name, p), (q_name, q) = found.items()
    if p.dims and q.dims and p.dims != q.dims:
        raise ValueError(f"{p_name} has the dimensions {p.dims} and {q_name} has {q.dims}: transpose one of them.")
    if not all(-one.values.ndim <= axis < one.values.ndim for one in (p, q)):
        return [p, q]  # an axis that does not exist is named where the arrays are checked
    check_batches(axis, found)
    left, right = p.labels[axis], q.labels[axis]
    if left is None or right is None or left.equals(right) or (is_numbering(left) and is_numbering(right)):
        return [p, q]
    for name, labels in ((p_name, left), (q_name, right)):
        if labels.has_duplicates:
            repeated = labels[labels.duplicated()][0]
            raise ValueError(f"{name} has several entries with the label {repeated!r}: add their probabilities up.")
    if not len(left.intersection(right)) and (is_numbering(left) or is_numbering(right)):
        raise ValueError(
            f"{p_name} is labelled {shown(left)} and {q_name} {shown(right)}, which have nothing in common. Label"
            " both, or pass .to_numpy() of both to compare them by position."
        )
    union = left.append(right.difference(left, sort=False))
    return [placed(one, axis, labels, union) for one, labels in ((p, left), (q, right))]


def check_batches(axis: int, found: dict) -> None:
    """Check the labels of batches, which are compared by position, so that their labels must agree."""
    (p_name, p), (q_name, q) = found.items()
    for left, right in zip(batch_labels(p, axis), batch_labels(q, axis), strict=False):  # from the last axis on
        if left is None or right is None or 1 in (len(left), len(right)) or len(left) != len(right):
            continue
        if not left.equals(right):
            raise ValueError(
                f"The batches of {p_name} are labelled {shown(left)} and those of {q_name} {shown(right)}: bring them"
                " into one order, with .reindex or .loc."
            )


def batch_labels(one: Labelled, axis: int) -> list:
    support = axis % one.values.ndim
    return [labels for i, labels in enumerate(one.labels) if i != support][::-1]


def is_numbering(labels) -> bool:
    """Return whether labels are 0, 1, 2, ..., which entries without labels of their own are given."""
    pandas = sys.modules["pandas"]
    return isinstance(labels, pandas.RangeIndex) and labels.start == 0 and labels.step == 1


def placed(one: Labelled, axis: int, labels, union) -> Labelled:
    places = labels.get_indexer(union)
    values = np.take(one.values, np.maximum(places, 0), axis=axis)
    shape = [1] * values.ndim
    shape[axis] = len(places)
    return one._replace(values=np.where((places >= 0).reshape(shape), values, 0.0))


def by_position(p, over_counts: bool):
    """Return a pmf without its labels; with `over_counts`, at the places 0, 1, 2, ... that its labels name.

    Raises:
        ValueError: the labels are not counts, or are not in ascending order.
    """
    found = labelled(p)
    labels = None if found is None or found.values.ndim != 1 else found.labels[0]
    if labels is None or is_numbering(labels):
        return p if found is None else found.values
    numbers = labels.inferred_type == "integer"
    if not over_counts and (not numbers or labels.is_monotonic_increasing):
        return found.values
    if not over_counts:
        raise ValueError(f"p is labelled {shown(labels)}, which is not in order: pass p.sort_index().")
    if not numbers or labels.min() < 0 or labels.has_duplicates:
        raise ValueError(f"p is labelled {shown(labels)}; a class is a family over the counts 0, 1, 2, ...")
    placed_at = np.zeros(int(labels.max()) + 1)
    placed_at[labels.to_numpy()] = found.values
    return placed_at


def in_one_order(p_draws, q_draws):
    """Return two DataFrames of draws with their columns in one order, and anything else as it is.

    Raises:
        ValueError: their columns have different names.
    """
    pandas = sys.modules.get("pandas")
    if pandas is None or not all(isinstance(draws, pandas.DataFrame) for draws in (p_draws, q_draws)):
        return p_draws, q_draws
    left, right = p_draws.columns, q_draws.columns
    if left.equals(right) or (is_numbering(left) and is_numbering(right)):
        return p_draws, q_draws
    if left.has_duplicates or right.has_duplicates or set(left) != set(right):
        raise ValueError(f"p_draws has the columns {shown(left)} and q_draws {shown(right)}: they must be the same.")
    return p_draws, q_draws[left]


def shown(labels) -> str:
    return ", ".join(map(repr, labels[:3].tolist())) + (", ..." if len(labels) > 3 else "")
