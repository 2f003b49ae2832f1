"""Telling people: channels, what they are told of which alerts, and every delivery."""
