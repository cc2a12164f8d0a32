"""Atelier: a self-hosted workshop for pictures and files."""
