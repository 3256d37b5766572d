"""The `vi-kl` command: one file for each of its subcommands, whose function main.py registers by one line.

main        the app
worms       the worm-teeth story
kl          a divergence between two distributions; `divergence/` reads and answers what it is asked
self_test   the diagnostics held to planted failures
options     options that several share
mistakes    errors as sentences with an exit code
"""
