"""The front: the one process that clients talk to. It imports nothing of the rest of the project, so that it stays small."""
