"""The REST routes of alerts."""
