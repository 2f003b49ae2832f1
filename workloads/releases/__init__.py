"""Helm releases as their records in a cluster tell of them: read, never written."""
