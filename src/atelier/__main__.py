"""`python -m atelier` and the `atelier` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; `atelier probe`, which runs every few seconds, takes a short cut."""
    if sys.argv[1:] == ["probe"]:
        from atelier.observe import probe

        code = probe.from_environment()
        if code is not None:
            sys.exit(code)
    from atelier.cli import main as run

    run()


if __name__ == "__main__":
    main()
