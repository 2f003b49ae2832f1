"""The REST routes of automation."""
