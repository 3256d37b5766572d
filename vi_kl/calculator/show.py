"""An answer as text: on a terminal of any width, or in a pipe."""

import math
import textwrap

from rich.console import Console
from rich.text import Text

from vi_kl.calculator.answer import Answer, Finding
from vi_kl.calculator.meaning import meaning
from vi_kl.estimate import format_with_error

COLUMN = len("KL(p || q)  ")


def show_answer(answer: Answer, console: Console) -> None:
    """The two expressions, each divergence with its error and method, and what it means."""
    console.print(row("p", answer.p, console.width))
    console.print(row("q", answer.q, console.width))
    for finding in answer.findings:
        console.print()
        console.print(row(f"KL({' || '.join(finding.names)})", value_of(finding), console.width, "bold"))
        for name, content in facts(finding):
            console.print(row(name, content, console.width))
        console.print()
        console.print(Text(meaning(finding.estimate, *finding.names)))
        if finding.why_infinite:
            console.print(Text(finding.why_infinite))


def value_of(finding: Finding) -> str:
    """The number with its unit, and how sure it is."""
    estimate = finding.estimate
    if math.isinf(estimate.value):
        return "infinite"
    if finding.is_exact:
        return f"{estimate.value:.10g} {estimate.unit}, exact"
    number = f"{format_with_error(estimate.value, estimate.standard_error)} {estimate.unit}"
    return f"{number} ({'error estimate' if estimate.num_draws is None else 'standard error'})"


def facts(finding: Finding) -> list[tuple[str, str]]:
    """What else there is to say about the number, as name and content."""
    estimate = finding.estimate
    found = [("method", estimate.method)]
    if estimate.k_hat is not None:
        found.append(("k-hat", f"{estimate.k_hat:.2f}"))
    if estimate.caveat:
        found.append(("caveat", estimate.caveat))
    return found


def row(name: str, content: str, width: int, style: str = "") -> Text:
    """A name, and beside it the content, whose further lines stay beside it too."""
    lines = textwrap.wrap(content, max(8, width - COLUMN), break_on_hyphens=False) or [""]
    text = Text(name.ljust(COLUMN), style="dim")
    return text.append(f"\n{' ' * COLUMN}".join(lines), style=style or "not dim")
