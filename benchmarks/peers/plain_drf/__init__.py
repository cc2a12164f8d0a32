"""Seed 004 as first written: Django, DRF, Celery on Redis, PostgreSQL, a media folder."""
