"""Alerts: rules over every cluster, what they find, and whom it concerns."""
