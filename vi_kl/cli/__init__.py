"""The `vi-kl` command: one file for each of its subcommands, whose function main.py registers by one line.

main               the app
worms              the worm-teeth story
kl                 a divergence between two distributions; `divergence/` reads the expressions and answers
self_test          the detection rates of the diagnostics, on planted failures
interruption       Ctrl-C, which ends a command at once
narrow_help        help in a narrow terminal
quick_compilation  XLA's settings for a command
options            options that several commands share
errors             errors as sentences with an exit code
"""
