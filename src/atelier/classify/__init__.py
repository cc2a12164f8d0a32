"""Classify a directory of pictures by a remote service: walk, transform, ask, journal, report.

Knows no database, no queue and no server of Atelier's; a bare directory and a URL are enough.
"""
