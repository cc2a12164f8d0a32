"""Alembic's migrations: every table but Django's.

They ship in the package, so that an installed wheel can migrate.
"""
