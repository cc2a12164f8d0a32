"""Seed 004 as a competent engineer writes it in an hour: Django, DRF, Celery on Redis, PostgreSQL, a media folder."""
