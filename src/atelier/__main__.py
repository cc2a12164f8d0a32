"""`python -m atelier` and the `atelier` command."""

from __future__ import annotations

import sys


def main() -> None:
    """The command line; `atelier probe` takes a short cut, for it runs every few seconds."""
    if sys.argv[1:] == ["probe"]:
        from atelier.observe import probe

        code = probe.from_environment()
        if code is not None:
            sys.exit(code)
    from atelier.cli import main as run

    run()


if __name__ == "__main__":
    main()
