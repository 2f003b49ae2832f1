"""Starts and stops the servers and processes that make up KubeGale; imports nothing of the rest of the project."""
