"""The `vi-kl` command: one file for each of its subcommands, whose function main.py registers by one line.

main               the app
fit                an approximation of the posterior of a user's own model
check              certificates of saved fits, or of a fit made now
compare            several approximations of one posterior
predict            draws of new data; `predictions` does the work
show               what a saved fit is
models             the catalogue
worms              the worm-teeth story
kl                 a divergence between two distributions; `divergence/` reads the expressions and answers
self_test          the detection rates of the diagnostics, on planted failures
wording            advice with commands in the place of calls
subject            the posterior that a command is about: model and data, the catalogue, or a saved fit's
references         the reference posterior that is asked for
judging            what --strict asks of a certificate
streams            results on standard output, everything else on stderr
interruption       Ctrl-C, which ends a command at once
narrow_help        help in a narrow terminal
quick_compilation  XLA's settings for a command
options            options that several commands share
errors             errors as sentences with an exit code
"""
