"""Untrusted content in confined child processes."""
