"""The work of `vi-kl kl` once its arguments are known: find a result, then show it as text or JSON."""

import json

from rich.console import Console

from vi_kl.cli.divergence.answer import Answer, answer
from vi_kl.cli.divergence.pairs import PairsOf, Summary, pairs_of, summary
from vi_kl.cli.divergence.show import show_answer, show_pairs_of, show_summary

__all__ = ["answer", "look_up", "show"]

SHOW = {Answer: show_answer, PairsOf: show_pairs_of, Summary: show_summary}


def look_up(written: str | None) -> Summary | PairsOf:
    """Return all exact pairs, or those with one distribution in them."""
    return summary() if written is None else pairs_of(written)


def show(result: Answer | PairsOf | Summary, as_json: bool, console: Console) -> None:
    """Show the result as text, or as one JSON object without rounding or wrapping."""
    if as_json:
        console.file.write(json.dumps(result.to_dict(), ensure_ascii=False, indent=2, allow_nan=False) + "\n")
    else:
        SHOW[type(result)](result, console)
