"""Verbs and actions on live objects."""
