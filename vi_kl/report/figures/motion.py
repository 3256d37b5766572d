"""A fit in motion: q on its way to the posterior, with the ELBO beside it.

`animate` writes an animation: a GIF for slides, or an HTML page with a slider, which fetches nothing from elsewhere.
`plot_path` draws a few moments of it side by side, for paper. Both need a fit that has kept its way:

    fit = vi_kl.SVI(vi_kl.FullRank(), keep_path=True, chunk=5).fit(key, target, start=far_away)

SVI begins at a mode, where the search for it has ended; a fit from another Approximation, such as a narrow normal far
from the posterior, has more of a way to show.
"""

import base64
import dataclasses
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vi_kl.core.annotations import KeyLike
from vi_kl.core.estimate import UNITS
from vi_kl.core.files import place_of, replacing
from vi_kl.core.precision import in_float64
from vi_kl.core.random_keys import as_key
from vi_kl.report.figures.appearance import INK, QUIET, ShownFigure, colour, style, subplots
from vi_kl.report.figures.marginals import plot_marginal
from vi_kl.report.figures.pairs import plot_pair
from vi_kl.targets.target import Target, constrain_in_chunks, log_density_in_chunks

NUM_DRAWS = 20_000  # of each q, by which its region is drawn and its ELBO is estimated
SHOWN = (0.001, 0.999)  # quantiles of the draws between which a number is shown
LAST = 1.5  # seconds for which an animation rests on its last moment
RESOLUTION = 110  # dots per inch of an animation


@dataclasses.dataclass(frozen=True)
class Motion:
    """Moments of a fit, from the first q to the last.

    Attributes:
        name: the method's name.
        steps: the number of steps at each moment.
        elbos, errors: each q's ELBO in nats, and its standard error.
        draws: each q's draws of the numbers that are shown, (n, 1) or (n, 2).
        known: the posterior's, or None.
        labels: the names of these numbers.
        log_evidence: the log evidence in nats, or None.
    """

    name: str
    steps: list[int]
    elbos: np.ndarray
    errors: np.ndarray
    draws: list[np.ndarray]
    known: np.ndarray | None
    labels: tuple[str, ...]
    log_evidence: float | None

    @property
    def limits(self) -> np.ndarray:
        """The ends of the axes, (2, numbers), which hold what is known, and q at every moment."""
        ends = [*self.draws, *([] if self.known is None else [self.known])]
        quantiles = np.array([np.quantile(values, SHOWN, axis=0) for values in ends])
        return np.stack([quantiles[:, 0].min(axis=0), quantiles[:, 1].max(axis=0)])


def animate(
    fit: Any,
    path: str | os.PathLike,
    *,
    numbers: Sequence[str] | None = None,
    key: KeyLike = 0,
    num_frames: int = 40,
    seconds: float = 6.0,
    unit: str = "nats",
) -> Path:
    """Write an animation of a fit: q on its way to the posterior, and the ELBO on its way to the log evidence.

    The moments lie close together at first, where most of the way is made, and ever farther apart.

    Args:
        fit: a Fit that has kept its path, such as one by `SVI(keep_path=True, chunk=5)`.
        path: the file: `.gif`, or `.html` for a page with a slider, which holds everything and fetches nothing.
        numbers: one or two numbers of the model to show, such as "slope" or "theta[3]"; the first two by default.
        key: the random key of the draws, or an integer.
        num_frames: the most moments to show.
        seconds: the length of the animation.
        unit: "nats" or "bits".

    Returns:
        The path of the file.

    Raises:
        ValueError: the fit has kept no path, or the file has another ending, or a number is none of the model's.
        OSError: the file cannot be written; one that was there is as it was.
    """
    kind = Path(path).suffix.lower()
    if kind not in (".gif", ".html"):
        raise ValueError(f"path must end in .gif or .html, not {str(path)!r}.")
    if num_frames < 2 or not seconds > 0:
        raise ValueError(f"num_frames must be 2 or more and seconds positive, not {num_frames} and {seconds}.")
    place = place_of(path)
    motion = motion_of(fit, numbers, key, num_frames)
    pictures = [png_of(draw_moment(motion, k, unit)) for k in range(len(motion.steps))]
    pause = seconds / len(pictures)
    content = as_gif(pictures, pause) if kind == ".gif" else as_page(motion, pictures, pause, unit).encode()
    with replacing(place) as file:
        file.write(content)
    return place


def plot_path(
    fit: Any, *, numbers: Sequence[str] | None = None, key: KeyLike = 0, num_moments: int = 6, unit: str = "nats"
) -> Figure:
    """Draw moments of a fit side by side, with the step and the ELBO of each: an animation for paper.

    Args:
        fit: a Fit that has kept its path, such as one by `SVI(keep_path=True, chunk=5)`.
        numbers: one or two numbers of the model to show; the first two by default.
        key: the random key of the draws, or an integer.
        num_moments: the most moments to show.
        unit: "nats" or "bits".

    Raises:
        ValueError: the fit has kept no path, or a number is none of the model's.
    """
    motion = motion_of(fit, numbers, key, num_moments)
    columns = min(3, len(motion.steps))
    rows = -(-len(motion.steps) // columns)
    with style():
        figure, axes = subplots(rows, columns, figsize=(2.5 * columns, 2.5 * rows), squeeze=False)
        for ax in axes.flat[len(motion.steps) :]:
            ax.remove()
        for k, ax in enumerate(axes.flat[: len(motion.steps)]):
            plot_moment(ax, motion, k)
            ax.set_title(f"step {motion.steps[k]:,}\n{elbo_in_words(motion, k, unit)}", fontsize=9, fontweight="normal")
    return figure


# ---- what is shown ---------------------------------------------------------------------------------------------------


@in_float64
def motion_of(fit: Any, numbers: Sequence[str] | None, key: KeyLike, num_moments: int) -> Motion:
    """Choose the moments of a fit, and draw from the q of each, with the same random numbers."""
    if not getattr(fit, "path", ()):
        raise ValueError(
            f"This fit by {fit.name!r} has kept no path. Fit by SVI with keep_path=True, and with a small chunk, such"
            " as vi_kl.SVI(vi_kl.FullRank(), keep_path=True, chunk=5)."
        )
    key, target = as_key(key), fit.target
    labels = chosen(target, numbers)
    places = np.unique(np.geomspace(1, len(fit.path), min(num_moments, len(fit.path))).round().astype(int)) - 1
    draws, elbos, errors = [], [], []
    for waypoint in (fit.path[place] for place in places):
        z, log_q = waypoint.approximation.sample_and_log_prob(key, NUM_DRAWS)
        values = log_density_in_chunks(waypoint.approximation.target, np.asarray(z)) - np.asarray(log_q)
        elbos.append(values.mean())
        errors.append(values.std() / np.sqrt(NUM_DRAWS))
        draws.append(columns_of(target, constrain_in_chunks(target, z), labels))
    reference = target.reference
    known = None if reference is None else constrain_in_chunks(target, reference.draws(key, NUM_DRAWS).z)
    evidence = None if reference is None else reference.log_evidence
    return Motion(
        fit.name, [fit.path[place].step for place in places], np.array(elbos), np.array(errors), draws,
        None if known is None else columns_of(target, known, labels),
        labels, None if evidence is None else float(evidence.to("nats").value),
    )  # fmt: skip


def names_of(target: Target) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return the numbers of a model by their names, {name: (site, index)}, those alone before entries of vectors."""
    found = {}
    for site in sorted(target.sites, key=lambda site: bool(site.shape)):
        for index in np.ndindex(site.shape):
            found[f"{site.name}[{', '.join(map(str, index))}]" if index else site.name] = (site.name, index)
    return found


def chosen(target: Target, numbers: Sequence[str] | None) -> tuple[str, ...]:
    """Return the numbers to show, after checking that the model has them."""
    known = names_of(target)
    if numbers is None:
        return tuple(known)[:2]
    numbers = (numbers,) if isinstance(numbers, str) else tuple(numbers)
    unknown = [name for name in numbers if name not in known]
    if unknown or not 1 <= len(numbers) <= 2:
        few = ", ".join(list(known)[:8])
        raise ValueError(f"numbers must be one or two of the model's ({few}, ...), not {', '.join(numbers) or 'none'}.")
    return numbers


def columns_of(target: Target, sites: dict, labels: Sequence[str]) -> np.ndarray:
    """Return the numbers of these names, (n, numbers), from draws of all sites."""
    places = names_of(target)
    return np.stack([np.asarray(sites[site])[(slice(None), *index)] for site, index in map(places.get, labels)], axis=1)


# ---- pictures --------------------------------------------------------------------------------------------------------


def plot_moment(ax: Axes, motion: Motion, k: int) -> None:
    """Draw the k-th q over the posterior, on axes that are the same at every moment."""
    low, high = motion.limits
    if len(motion.labels) == 2:
        plot_pair(ax, motion.known, {motion.name: motion.draws[k]})
        ax.set(xlabel=motion.labels[0], ylabel=motion.labels[1], ylim=(low[1], high[1]))
    else:
        known = None if motion.known is None else motion.known[:, 0]
        plot_marginal(ax, known, {motion.name: motion.draws[k][:, 0]}, motion.labels[0])
    ax.set_xlim(low[0], high[0])


def plot_elbo(ax: Axes, motion: Motion, k: int, unit: str) -> None:
    """Draw the ELBO so far, and the log evidence where it is known; ELBOs far below the last are cut off."""
    values, known = motion.elbos / UNITS[unit], motion.log_evidence
    top = max(values.max(), -np.inf if known is None else known / UNITS[unit])
    bottom = max(values.min(), top - max(20 * (top - values[-1]), 0.6 * (top - values.min()), 1.0))
    room = 0.08 * (top - bottom)
    if known is not None:
        ax.axhline(known / UNITS[unit], color=QUIET, linestyle="--", linewidth=1, label="log evidence")
    ax.plot(motion.steps[: k + 1], values[: k + 1], color=colour(motion.name), linewidth=1.5, label="ELBO")
    ax.plot(motion.steps[k], max(values[k], bottom), "o", color=INK, markersize=6, clip_on=False)
    ax.set_xscale("symlog", linthresh=max(1, motion.steps[1]))
    # the legend has its place below the end of the curve
    ax.set(xlim=(0, motion.steps[-1]), ylim=(bottom - 4 * room, top + room), xlabel="step", ylabel=unit)
    ax.legend(loc="lower right")


def draw_moment(motion: Motion, k: int, unit: str) -> Figure:
    """Draw one picture of the animation."""
    with style():
        figure = ShownFigure(figsize=(8.4, 4.0))
        # each picture has its axes in the same place
        left, right = figure.subplots(1, 2, gridspec_kw={"left": 0.09, "right": 0.97, "bottom": 0.14, "wspace": 0.32})
        plot_moment(left, motion, k)
        plot_elbo(right, motion, k, unit)
        left.set_title(f"step {motion.steps[k]:,}")
        right.set_title(elbo_in_words(motion, k, unit))
    return figure


def elbo_in_words(motion: Motion, k: int, unit: str) -> str:
    """Say the ELBO, and how far below the log evidence it is, with no more digits than its error leaves."""
    digits = int(np.clip(np.ceil(-np.log10(max(motion.errors[k] / UNITS[unit], 1e-12))), 0, 4))
    said = f"ELBO {motion.elbos[k] / UNITS[unit]:,.{digits}f} {unit}"
    return said.replace("-", "−")


def png_of(figure: Figure) -> bytes:
    """Return a figure as a PNG in the resolution of an animation, always of the same size."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=RESOLUTION)
    return content.getvalue()


def as_gif(pictures: list[bytes], pause: float) -> bytes:
    """Return the pictures as a GIF that runs again and again, and rests on the last."""
    from PIL import Image  # which matplotlib requires

    frames = [Image.open(io.BytesIO(picture)).convert("RGB").quantize(64) for picture in pictures]
    pauses = [round(1000 * pause)] * (len(frames) - 1) + [round(1000 * max(LAST, pause))]
    content = io.BytesIO()
    frames[0].save(
        content, format="GIF", save_all=True, append_images=frames[1:], duration=pauses, loop=0, disposal=2
    )  # fmt: skip
    return content.getvalue()


def as_page(motion: Motion, pictures: list[bytes], pause: float, unit: str) -> str:
    """Return the pictures as a page with a slider and a button, which holds everything."""
    environment = jinja2.Environment(loader=jinja2.PackageLoader("vi_kl.report", "templates"), autoescape=True)
    moments = [
        {"picture": base64.b64encode(picture).decode(), "words": f"step {step:,}: {elbo_in_words(motion, k, unit)}"}
        for k, (picture, step) in enumerate(zip(pictures, motion.steps, strict=True))
    ]
    return environment.get_template("motion.html").render(
        title=f"{motion.name}: q on its way to the posterior", moments=moments, pause=round(1000 * pause)
    )
