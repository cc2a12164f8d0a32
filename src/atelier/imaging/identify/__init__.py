"""Identifies a picture by its header, before anything decodes it."""
