"""The text of `vi-kl kl --help`. Nothing here waits for JAX."""

METHODS = {
    "auto": "the first of the others that can do it",
    "closed-form": "a formula",
    "enumeration": "the exact sum over a finite support",
    "quadrature": "numerical integration",
    "quasi-monte-carlo": "draws spread evenly over p",
    "monte-carlo": "random draws from p",
    "importance-sampling": "random draws from q",
}


def paragraphs(*texts: str) -> str:
    """Join texts, each on one line: the terminal decides how a line of help breaks."""
    return "\n\n".join(" ".join(text.split()) for text in texts)


# brackets are escaped, because rich takes them for its markup
HELP = paragraphs(
    "KL(p || q): what is lost when the distribution q stands in for p, with its error and its method.",
    r"""P and Q are NumPyro distributions, written as their constructors: Gamma(2, rate=3). Arguments are numbers,
    + - * / **, lists, pi, inf, eye(n), zeros(n), ones(n), diag(\[...]), arange(n), and distributions;
    .to_event(n), .expand(\[...]) and .mask(...) may follow. A bare list is a probability mass function.""",
    "The unit is nats, that of the ELBO, unless --base bits asks for bits.",
)

EPILOG = (
    r"""[bold]Examples[/]

"""
    + "\b\n"
    + r"""vi-kl kl "Gamma(2, 3)" "LogNormal(0, 1)"
vi-kl kl "Normal(0, 1)" "StudentT(5)" --both --base bits
vi-kl kl "Mixture(Categorical(\[.3, .7]), Normal(\[-1, 2], 1))" "Normal(1, 2)"
vi-kl kl "MultivariateNormal(\[0, 1], eye(2))" "Normal(zeros(2), 2).to_event(1)"
vi-kl kl "\[0.1, 0.9]" "\[0.5, 0.5]"
vi-kl kl "\[12, 30, 8]" "\[10, 10, 10]" --normalize --json
vi-kl kl --pairs
vi-kl kl Gamma --pairs

"""
    + paragraphs(
        """[bold]Quoting.[/] Put each expression into double quotes: they do in every shell. Without them the shell
        takes parentheses, brackets and asterisks for its own.""",
        f"[bold]Methods.[/] {'; '.join(f'[bold]{name}[/]: {what}' for name, what in METHODS.items())}.",
    )
)
