"""Spaces: what people share, with members and their roles."""
