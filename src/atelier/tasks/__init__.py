"""Tasks: pictures for people to work on, each handed out once, and the count of all ever made."""
