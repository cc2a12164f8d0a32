"""Accounts: people, their sign-ins, and the end of both."""
