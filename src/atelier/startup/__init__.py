"""What a process requires before it starts work."""
