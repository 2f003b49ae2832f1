"""The front: the process that clients talk to; it imports nothing of the rest of the project."""
