"""`python -m atelier` and the `atelier` command."""

from __future__ import annotations

from atelier.cli import main

if __name__ == "__main__":
    main()
