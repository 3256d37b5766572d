"""Labels of text for the entries that a model counts by its codes.

A column of text comes to a model as codes. Which axes of its sites it indexes by them is read off its log density; the
entries there are called by the labels. Where two columns index one axis (the home team and the guests), one label must
be one code in both.
"""

from vi_kl.targets.file.arguments import Bound
from vi_kl.targets.file.table import in_order
from vi_kl.targets.numpyro.indices import indexed_axes
from vi_kl.targets.target import Target

__all__ = ["joint_labels", "labels_of_axes"]


def axes_by_column(bound: Bound, target: Target) -> dict[str, list[tuple[str, int]]]:
    """Return {column of text: (name of an axis, its length) of those that the model indexes by its codes alone}."""
    found: dict[str, list[tuple[str, int]]] = {}
    for arguments, axes, lookup in indexed_axes(target.density, target.data, target.sites) if bound.coded else ():
        column = column_of(bound, arguments[0]) if len(arguments) == 1 else None
        if column is not None:
            found.setdefault(column, []).extend((target.axes[site][axis], lookup.size) for site, axis in axes)
    return found


def column_of(bound: Bound, argument: str) -> str | None:
    """Return the column of text that an argument is, or a column of an argument that is a table; None if it is none."""
    for _, column, values in bound.coded:
        if bound.values.get(argument) is values or argument.endswith(f"[{column!r}]"):
            return column
    return None


def joint_labels(bound: Bound, target: Target) -> dict[str, list[str]]:
    """Return {column: labels} of columns that index one axis, and whose codes are not of the same labels."""
    by_axis: dict[str, list[str]] = {}
    for column, axes in axes_by_column(bound, target).items():
        for axis, _ in axes:
            by_axis.setdefault(axis, []).append(column)
    found: dict[str, list[str]] = {}
    for columns in by_axis.values():
        columns = list(dict.fromkeys(columns))
        if len({tuple(bound.codes[column]) for column in columns}) > 1:
            labels = dict.fromkeys(label for column in columns for label in bound.codes[column])
            found |= {column: in_order(list(labels)) for column in columns}
    return found


def labels_of_axes(bound: Bound, target: Target) -> dict[str, list[str]]:
    """Return {axis: the labels of its entries} of the axes that codes count, where there is a label for each entry."""
    return {
        axis: bound.codes[column]
        for column, axes in axes_by_column(bound, target).items()
        for axis, size in axes
        if len(bound.codes[column]) == size
    }
