"""Runs the tool."""

from benchmarks.capacity.cli import main

main()
