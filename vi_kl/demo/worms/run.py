"""The whole story in order: in the terminal, and as a folder with a page, figures and numbers."""

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from vi_kl.core.compilation import compile_clock, in_threads
from vi_kl.core.estimate import UNITS, Estimate
from vi_kl.core.files import require_writable
from vi_kl.core.written_numbers import contradicts_zero, divergence_with_error, significant, with_unit
from vi_kl.demo.worms import figures
from vi_kl.demo.worms.article import Article, article
from vi_kl.demo.worms.data import observed
from vi_kl.demo.worms.fits import ModelResult, ModelSpec, fit_model, model_specs
from vi_kl.demo.worms.words import say
from vi_kl.diagnostics.certificate import Certificate
from vi_kl.report import figures as plots
from vi_kl.report.pages import Section, render_page, write_atomically, write_page
from vi_kl.report.picture import Picture
from vi_kl.report.provenance import Provenance, provenance
from vi_kl.report.tables import Table, comparison_table, notes, number, readable
from vi_kl.report.terminal import LONGEST_LINE, print_heading, print_notes, progress_bar
from vi_kl.report.terminal_table import TerminalTable

TITLE = "The worm teeth: from a histogram to a checked posterior"
LEAD = (
    "Scientists on a far planet have counted the teeth of 1,000 worms, and every bit to Earth is dear. One quantity "
    "runs through the whole story: the bits on the line. KL says how many a stand-in costs; minimised, it finds the "
    "best stand-in; and what an approximate posterior adds to the code length is exactly KL(q||posterior)."
)

ON_PAGE = (
    "name", "code_length", "gap", "integrated", "agree", "forward_kl", "k_hat", "mean_error", "sd_ratio", "seconds",
)  # fmt: skip
IN_TERMINAL = ("name", "gap", "integrated", "forward_kl", "k_hat", "seconds")


def run_story(
    out: Path,
    unit: str,
    seed: int,
    quick: bool,
    console: Console,
    import_seconds: float,
    on_stored: Callable[[str], object] = lambda name: None,
    language: str = "en",
) -> list[ModelResult]:
    """Run the story and write the report folder.

    Args:
        out: the folder to write; it is made if need be, and found writable before anything is computed.
        unit: "bits" or "nats".
        seed: the seed of every random number.
        quick: whether to run only two models, with the approximations that compile fast.
        console: the console to print on.
        import_seconds: the seconds that importing took, for the closing table.
        on_stored: called with the name of each model as soon as its numbers are in results.json.
        language: "en", or "zh" for Chinese.

    Raises:
        NoFontError: the figures' words need a font that is not installed; nothing has been computed then.
    """
    require_writable(out)
    start, made = time.perf_counter(), made_by(unit, seed, quick, language)
    with plots.style(language), compile_clock() as clock, progress_bar(console) as bar:
        to_come = fit_models(model_specs(quick), seed, bar)  # in threads, while the article is computed
        numbers = article()
        print_article(console, numbers, unit)
        fitted, pictures = [], figures.article_figures(numbers, unit)
        for result in to_come:
            fitted.append(result)
            print_model(console, result, unit)
            # after every chapter, so that an interruption loses only the rest
            save_results(out, results(numbers, fitted, unit, seed, made))
            on_stored(result.spec.name)
            pictures += figures.model_figures(result)
        pictures += figures.summary_figures(fitted, numbers, unit)
        page = render_page(say(TITLE), say(LEAD), sections(numbers, fitted, pictures, unit), made, language)
        write_page(out, page, pictures)
        print_code_lengths(console, fitted, unit)
        print_end(console, out, import_seconds, time.perf_counter() - start, clock.seconds)
    return fitted


def print_end(console: Console, out: Path, importing: float, work: float, compiling: float) -> None:
    """Print what the story took, and where it is."""
    seconds = say(
        "Seconds: {importing} importing, {work} computing and drawing (compiling took {compiling}, summed over "
        "threads); {total} in all.",
        importing=f"{importing:.1f}",
        work=f"{work:.1f}",
        compiling=f"{compiling:.1f}",
        total=f"{importing + work:.1f}",
    )
    console.print(f"[dim]{seconds}[/]")
    places = {"page": out / "index.html", "figures": out / "figures", "numbers": out / "results.json"}
    # a path that was broken could not be copied
    console.print(say("Report: {page}   figures: {figures}   numbers: {numbers}", **places), soft_wrap=True)


def fit_models(specs: list[ModelSpec], seed: int, bar: Progress) -> Iterator[ModelResult]:
    """Fit and check two models at a time, and yield their results in order."""
    keys = jax.random.split(jax.random.key(seed), len(specs))
    task = bar.add_task(say("Fitting and checking"), total=sum(len(spec.methods) for spec in specs))

    def one(spec, key):
        return fit_model(spec, key, lambda fraction, name: bar.advance(task))

    return in_threads(one, specs, keys, workers=2)


def made_by(unit: str, seed: int, quick: bool, language: str = "en") -> Provenance:
    """Return the command that makes this report, with the time and the versions."""
    command = f"vi-kl worms --base {unit} --seed {seed}{' --quick' if quick else ''}"
    command += "" if language == "en" else f" --lang {language}"
    return provenance(command, {"everything random": str(seed)})


def bits_back_sentence(unit: str) -> str:
    """Say what bits-back coding is."""
    log = "log2" if unit == "bits" else "log"
    return say(
        "Sending the 1,000 counts with a model costs -{log} evidence {unit}. With an approximate posterior q it "
        "costs -ELBO {unit} (bits-back coding). The difference is exactly KL(q||posterior) in {unit}.",
        log=log,
        unit=say(unit),
    )


# The terminal ---------------------------------------------------------------------------------------------------


def print_article(console: Console, numbers: Article, unit: str) -> None:
    """Print the article's figures beside those computed here."""
    print_heading(say("1. What a stand-in costs"), console)
    marks = (Text("✓", "green") if row.agrees else Text("✗", "red") for row in numbers.figures)
    shown = article_table(numbers)
    rows = tuple((*row, mark) for row, mark in zip(shown.rows, marks, strict=True))
    table = Table(("", *shown.columns[1:3], "", ""), rows, (*shown.meanings, say("Whether the two agree.")))
    console.print(TerminalTable(table, say("The article's figures"), left=(0, 3, 4)))
    if unit == "nats":
        console.print(f"[dim]{say('The article counts in bits; one bit is 0.693 nats.')}[/]")
    print_heading(say("2. The same thought with a posterior"), console)
    console.print(bits_back_sentence(unit), width=min(console.width, LONGEST_LINE))


def article_table(numbers: Article) -> Table:
    """Return the article's figures beside those computed here."""
    rows = (
        (say(f.what), f.printed, f"{f.computed:.{f.decimals + 1}f}", f.unit and say(f.unit)) for f in numbers.figures
    )
    meanings = (
        say("A figure that the article prints."),
        say("Its value in the article."),
        say("Its value as computed here, with a digit more."),
        say("The unit of both; none for a probability."),
    )
    return Table((say("figure"), say("article"), say("here"), say("unit")), tuple(rows), meanings)


def print_model(console: Console, result: ModelResult, unit: str) -> None:
    """Print the columns that fit eighty characters; the page has the rest."""
    evidence = result.log_evidence.to(unit)
    price = say(
        "{price} {unit} for 1,000 worms ({method})",
        price=f"{-evidence.value:,.2f}",
        unit=say(unit),
        method=evidence.method,
    )
    console.print(f"[bold]{say(result.spec.title)}[/]: {price}")
    console.print(TerminalTable(comparison_table(result.comparison, unit, IN_TERMINAL), inside=True), "")
    print_notes(model_notes(result, unit), console)


def model_notes(result: ModelResult, unit: str) -> list[str]:
    """Return the sentences about a model: about a missing mode first, then the notes that any comparison has."""
    one_sided = [c for c in result.comparison.certificates if c.coverage is not None and 0.3 < c.coverage < 0.7]
    story = [about_the_missing_mode(one_sided, unit)] if one_sided else []
    return story + notes(result.comparison, omit=one_sided)


def about_the_missing_mode(one_sided: list[Certificate], unit: str) -> str:
    """Explain why some approximations cover one mode only, and what it costs."""
    names = ", ".join(readable(c.name) for c in one_sided)
    share = np.mean([c.coverage for c in one_sided])
    best = min((c.reverse_kl.to(unit) for c in one_sided), key=lambda kl: kl.value)
    log2 = np.log(2) / UNITS[unit]
    from_mode = divergence_with_error(best.value - log2, best.standard_error, digits=1, most=2)
    price = say("1 bit") if unit == "bits" else f"{log2:.3g} {say('nats')}"
    return say(
        "What happened: {names} cover one of the posterior's two mirror images, {share} of its mass. Reverse KL "
        "charges log 2 = {price} for the missing half, however far away it is; the best of them is at {best}, so it "
        "is {from_mode} from the mode it has found. Sending the worms with it costs that one bit: the name of the "
        "mode.",
        names=names,
        share=f"{share:.0%}",
        price=price,
        best=number(best, unit),
        from_mode=with_unit(from_mode, say(unit)),
    )


def print_code_lengths(console: Console, fitted: list[ModelResult], unit: str) -> None:
    """Print the table of code lengths."""
    print_heading(say("3. The code lengths"), console)
    console.print(
        TerminalTable(code_length_table(fitted, unit), say("{unit} to send 1,000 worms", unit=say(unit)), left=(0, 2))
    )


def code_length_table(fitted: list[ModelResult], unit: str) -> Table:
    """Return the code length of each model, and what its best approximation adds."""
    p, factor = observed(), UNITS[unit]
    rows = [(say("no model, all counts equally likely"), f"{1000 * np.log(11) / factor:,.1f}", "")]
    for result in fitted:
        best = min(result.comparison.certificates, key=lambda c: c.reverse_kl.value)
        price = -result.log_evidence.to(unit).value
        rows.append(
            (say(result.spec.title), f"{price:,.1f}", f"+{added(best.reverse_kl.to(unit))} {readable(best.name)}")
        )
    floor = 1000 * float(-np.sum(p * np.log(p))) / factor
    rows.append((say("1,000 x entropy: histogram known already"), f"{floor:,.1f}", ""))
    meanings = (
        say("What the worms are sent with."),
        say("What that costs for 1,000 worms, in {unit}: with a model, −log evidence.", unit=say(unit)),
        say("What the best of the approximations adds, in {unit}: KL(q||p). Its name follows.", unit=say(unit)),
    )
    return Table((say("with"), say("the exact posterior"), say("the best q adds")), tuple(rows), meanings)


def added(kl: Estimate) -> str:
    """Write a divergence without its error, to two digits; one that contradicts its error as what it is."""
    if contradicts_zero(kl.value, kl.standard_error):
        return divergence_with_error(kl.value, 0.0, most=2)
    return significant(max(kl.value, 0.0), 2)


# The folder -----------------------------------------------------------------------------------------------------


def save_results(out: Path, numbers: dict) -> None:
    """Write the results as JSON."""
    write_atomically(out / "results.json", json.dumps(numbers, indent=2) + "\n")


def results(numbers: Article, fitted: list[ModelResult], unit: str, seed: int, made: Provenance) -> dict:
    """Return everything that was computed, as plain numbers: nats throughout, whatever the terminal shows."""
    return {
        "made": made.to_dict(),
        "seed": seed,
        "shown_in": unit,
        "article": [
            {"what": f.what, "article": f.printed, "here": f.computed, "unit": f.unit, "agrees": f.agrees}
            for f in numbers.figures
        ],
        "models": [
            {
                "name": result.spec.name,
                "log_evidence": result.log_evidence.to_dict(),
                "approximations": [
                    {
                        **c.to_dict(),
                        "status": str(fit.status),
                        "converged": fit.status.converged,
                        "cost": dataclasses.asdict(fit.cost),
                    }
                    for fit, c in zip(result.comparison.fits, result.comparison.certificates, strict=True)
                ],
                "failures": result.comparison.failures,
            }
            for result in fitted
        ],
    }


def sections(numbers: Article, fitted: list[ModelResult], pictures: list[Picture], unit: str) -> list[Section]:
    """Return the sections of the page."""
    by_name = {picture.name: picture for picture in pictures}
    first = Section(
        say("What a stand-in costs"),
        (
            say(
                "The histogram takes eleven numbers; a simple distribution takes one or none. Coding the worms with "
                "the wrong distribution q costs KL(observed || q) more per worm than the entropy. Minimising that cost "
                "is how the best simple distribution is found."
            ),
        ),
        (article_table(numbers),),
        tuple(by_name[name] for name in ("histogram", "objective", "directions")),
    )
    parts = [first]
    for i, result in enumerate(fitted):
        evidence = result.log_evidence.to(unit)
        opening = (bits_back_sentence(unit),) if i == 0 else ()
        shown = [by_name[f"posterior_{result.spec.name}"]]
        shown += [by_name["two_modes"]] if result.spec.name == "two_kinds" else []
        price = say(
            "{description} Its code length: {price} {unit} ({method}).",
            description=say(result.comparison.target.density.description),
            price=f"{-evidence.value:,.2f}",
            unit=say(unit),
            method=evidence.method,
        )
        words = (*opening, price, *model_notes(result, unit))
        parts.append(
            Section(say(result.spec.title), words, (comparison_table(result.comparison, unit, ON_PAGE),), tuple(shown))
        )
    closing = Section(
        say("The code lengths"),
        (say("What 1,000 worms cost to send, model by model, and what each approximation adds."),),
        (code_length_table(fitted, unit),),
        (by_name["bits_to_send"], by_name["traces"]),
    )
    return [*parts, closing]
