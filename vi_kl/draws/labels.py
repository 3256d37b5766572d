"""Names of the axes and elements of sites: dims from the model's plates, and coordinates that the user gives.

    Labels.of({"theta": (8,)}, {"theta": ("schools",)}, coords={"schools": ["Choate", ...]})

An axis that belongs to a plate is called as the plate is, and any other `theta_dim_0`, as ArviZ calls it. `dims` names
axes instead, or those that no plate does.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Dims = Mapping[str, Sequence[str | None]]
Coords = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Labels:
    """The names of the axes of every site, and of the entries along them.

    Attributes:
        dims: {site: the name of each axis}.
        coords: {name of an axis: the names of its entries}, for those that were given.
    """

    dims: dict[str, tuple[str, ...]]
    coords: dict[str, np.ndarray]

    @classmethod
    def of(
        cls,
        shapes: Mapping[str, tuple[int, ...]],
        plates: Dims,
        dims: Dims | None = None,
        coords: Coords | None = None,
        of_the_source: Coords | None = None,
    ) -> "Labels":
        """Return the labels of sites of these shapes.

        Args:
            shapes: {site: its shape}.
            plates: {site: the plate of each axis, or None}.
            dims: {site: the name of each axis, or None for the plate's}, from the user.
            coords: {axis: the names of its entries}, from the user.
            of_the_source: likewise from the model, for axes that the user does not name the entries of; those of other
                axes are left out.

        Raises:
            ValueError: dims or coords name what there is not, or are of another length.
        """
        dims, coords = dict(dims or {}), {name: np.asarray(x) for name, x in (coords or {}).items()}
        unknown = [name for name in dims if name not in shapes]
        if unknown:
            raise ValueError(f"dims has the name '{unknown[0]}', and the sites are {', '.join(shapes)}.")
        named = {name: axis_names(name, shape, plates.get(name), dims.get(name)) for name, shape in shapes.items()}
        lengths = {axis: size for name, axes in named.items() for axis, size in zip(axes, shapes[name], strict=True)}
        for axis, entries in coords.items():
            require_fitting(axis, entries, lengths)
        known = {axis: np.asarray(entries) for axis, entries in (of_the_source or {}).items()}
        coords = {axis: x for axis, x in known.items() if x.shape == (lengths.get(axis),)} | coords
        # an axis that is called as a site is would be that site's coordinate
        renamed = {axis: f"{axis}_dim" if axis in shapes else axis for axis in lengths}
        return cls(
            {name: tuple(renamed[axis] for axis in axes) for name, axes in named.items()},
            {renamed[axis]: entries for axis, entries in coords.items()},
        )

    def elements(self, name: str, shape: tuple[int, ...]) -> list[str]:
        """Return a name for each entry of a site: `mu`, `theta[Choate]`, `slopes[0,2]`."""
        if not shape:
            return [name]
        along = [
            [str(entry) for entry in self.coords.get(axis, range(size))]
            for axis, size in zip(self.dims[name], shape, strict=True)
        ]
        return [
            f"{name}[{','.join(axis[i] for axis, i in zip(along, index, strict=True))}]" for index in np.ndindex(*shape)
        ]


def axis_names(name: str, shape: tuple[int, ...], plates, given) -> list[str]:
    """Return the name of each axis of a site: the user's, the plate's, or one made of the site's name."""
    given = [given] if isinstance(given, str) else given
    if given is not None and len(given) != len(shape):
        raise ValueError(
            f"dims['{name}'] has {len(given)} names, {list(given)}, and the site has {len(shape)} axes, of shape "
            f"{shape}."
        )
    plates = plates or [None] * len(shape)
    chosen = zip(given or plates, plates, strict=True)
    return [own or plate or f"{name}_dim_{i}" for i, (own, plate) in enumerate(chosen)]


def require_fitting(axis: str, entries: np.ndarray, lengths: Mapping[str, int]) -> None:
    """Raise an error unless there is an axis of this name and length."""
    if axis not in lengths:
        raise ValueError(
            f"coords has the name '{axis}', and the axes are {', '.join(lengths) or 'none'}. Name the axes of a site "
            f"by dims={{site: [names]}}, or its plate in the model."
        )
    if entries.shape != (lengths[axis],):
        raise ValueError(
            f"coords['{axis}'] must hold {lengths[axis]} names, one for each entry of that axis, and has shape "
            f"{entries.shape}."
        )
