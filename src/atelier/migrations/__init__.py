"""Alembic's migrations: every table but Django's.

They are part of the package, so that an installed wheel can migrate.
"""
