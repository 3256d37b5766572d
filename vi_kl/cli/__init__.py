"""The `vi-kl` command: one file for each of its commands."""
