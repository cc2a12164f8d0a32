"""Runs the tool: `python -m benchmarks.capacity`."""

from __future__ import annotations

from benchmarks.capacity.cli import main

main()
