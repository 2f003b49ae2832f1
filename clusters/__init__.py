"""Registered clusters, the only door to them, and the kinds they serve."""
