"""The launcher, with real servers and real signals."""
