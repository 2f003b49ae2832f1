"""Starts and stops the processes that make up KubeGale; imports nothing of the rest."""
