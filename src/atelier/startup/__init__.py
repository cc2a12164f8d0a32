"""Checks that a process makes before it starts work."""
