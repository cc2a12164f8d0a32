"""Developers' commands: reference pages, migrations."""
