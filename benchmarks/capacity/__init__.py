"""How many requests a second a running instance carries, per operation, and what stops it there.

A client and nothing more: it knows no database, no queue and no web framework, and makes what it
needs over HTTP.
"""
