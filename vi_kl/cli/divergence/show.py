"""The answer, or the exact pairs, as text: on a terminal of any width, or in a pipe."""

import math
import textwrap
from collections import defaultdict
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from vi_kl.cli.divergence.answer import Answer, Finding
from vi_kl.cli.divergence.interpretation import interpret
from vi_kl.cli.divergence.pairs import CLOSED, PairsOf, Summary, plain
from vi_kl.core.written_numbers import MOST_DIGITS, divergence_with_error, significant, with_unit

COLUMN = len("KL(p || q)  ")
NARROWEST = 20  # the least number of columns for content beside a name


def show_answer(answer: Answer, console: Console) -> None:
    """Show the two expressions, each divergence with its error and method, and what it means."""
    console.print(row("p", answer.p, console.width))
    console.print(row("q", answer.q, console.width))
    for finding in answer.findings:
        console.print()
        console.print(row(f"KL({' || '.join(finding.names)})", value_of(finding), console.width, "bold"))
        for name, content in facts(finding):
            console.print(row(name, content, console.width))
        console.print()
        for sentence in filter(None, (interpret(finding.estimate, *finding.names), finding.why_infinite)):
            console.print(wrapped(sentence, console.width))


def value_of(finding: Finding) -> str:
    """Write the number with its unit and its error, if that is large enough to change the last digit."""
    estimate = finding.estimate
    if math.isinf(estimate.value):
        return "infinite"
    if finding.is_exact and estimate.value >= 0:
        return f"{with_unit(significant(estimate.value, MOST_DIGITS, zeros=False), estimate.unit)}, exact"
    number = divergence_with_error(estimate.value, estimate.standard_error)
    if "±" not in number:
        return f"{with_unit(number, estimate.unit)}, with an error below the last digit"
    kind = "rounding" if finding.is_exact else "error estimate" if estimate.num_draws is None else "standard error"
    return f"{with_unit(number, estimate.unit)} ({kind})"


def facts(finding: Finding) -> list[tuple[str, str]]:
    """Return what else there is to say about the number, as (name, content)."""
    estimate = finding.estimate
    found = [("method", estimate.method)]
    if estimate.k_hat is not None and math.isfinite(estimate.k_hat):
        found.append(("k-hat", f"{estimate.k_hat:.2f}"))
    if estimate.caveat:
        found.append(("caveat", estimate.caveat))
    return found


def show_summary(found: Summary, console: Console) -> None:
    """Show how many pairs there are, beside NumPyro's, and each of them."""
    console.print(
        wrapped(
            f"{len(found.finite):,} ordered pairs of distributions have an exact, finite KL(p || q),"
            f" {found.plain_count:,} if parametrisations by probabilities and by logits count as one. NumPyro has"
            f" {found.numpyro_pairs}. Not counted are rules that take off a wrapper, such as .to_event:"
            f" {found.rules} here, {found.numpyro_rules} there.",
            console.width,
        )
    )
    if len(found.by) > 1:
        kinds = ", ".join(f"{count:,} by {by}" for by, count in found.by.items() if by != "infinite")
        endless = len(found.pairs) - len(found.finite)
        more = f" {endless} more are infinite whatever the parameters, and all those that the supports tell."
        console.print(wrapped(f"Of ours, {kinds}.{more if endless else ''}", console.width))
    console.print()
    show_list([(plain(pair.p), plain(pair.q), pair.by) for pair in found.pairs], console)


def show_pairs_of(found: PairsOf, console: Console) -> None:
    """Show which distributions have an exact divergence from one distribution, and to it."""
    name = found.name
    if not found.from_it and not found.to_it:
        sentence = f"No pair with {name} has an exact divergence. vi-kl kl still answers, with an error."
        console.print(wrapped(sentence, console.width))
    if found.from_it:
        console.print(Text(f"KL({name} || q) is exact for these q:"))
        show_list([(pair.by, plain(pair.q), CLOSED) for pair in found.from_it], console)
    if found.to_it:
        console.print(Text(f"KL(p || {name}) is exact for these p:"))
        show_list([(pair.by, plain(pair.p), CLOSED) for pair in found.to_it], console)


PREFIXES = {CLOSED: "", "infinite": "infinite: "}


def show_list(entries: Iterable[tuple[str, str, str]], console: Console) -> None:
    """Show a line for each first name, with the second names by method; a method other than a closed form is named."""
    lines: dict[str, dict[str, dict[str, None]]] = defaultdict(lambda: defaultdict(dict))
    for first, second, by in entries:
        lines[first][by][second] = None
    column = max(map(len, lines)) + 2
    for first, methods in lines.items():
        in_order = sorted(methods.items(), key=lambda item: (item[0] != CLOSED, item[0]))
        parts = [PREFIXES.get(by, f"by {by}: ") + ", ".join(seconds) for by, seconds in in_order]
        console.print(row(first, "; ".join(parts), console.width, column=column))


def row(name: str, content: str, width: int, style: str = "", column: int = COLUMN) -> Text:
    """Lay out a name and beside it the content, whose further lines stay beside it; below it on narrow terminals."""
    beside = width - column >= NARROWEST
    indent = column if beside else 2
    lines = textwrap.wrap(content, max(8, width - indent), break_on_hyphens=False) or [""]
    text = Text(name.ljust(column) if beside else f"{name}\n  ", style="dim")
    return text.append(f"\n{' ' * indent}".join(lines), style=style or "not dim")


def wrapped(sentence: str, width: int) -> Text:
    """Wrap a sentence into lines, none of which ends in a space."""
    return Text(textwrap.fill(sentence, width, break_on_hyphens=False))
