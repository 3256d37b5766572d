"""The program `vi-kl`, also as `python -m vi_kl.cli`."""

from vi_kl.cli.interruption import end_when_interrupted, ignore_interruptions
from vi_kl.cli.quick_compilation import compile_quickly


def main() -> None:
    """Run the command; Ctrl-C ends it from here on, also while the rest is imported."""
    end_when_interrupted()
    compile_quickly()
    from vi_kl.cli.main import app

    try:
        app(prog_name="vi-kl")
    finally:
        ignore_interruptions()


if __name__ == "__main__":
    main()
