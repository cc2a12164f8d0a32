"""The trash: deleted pictures, tasks and files, listed, restored and purged."""
