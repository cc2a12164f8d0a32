"""Migrations of Django's table."""
