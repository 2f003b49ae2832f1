"""Live objects of any kind: read, create, change, delete; logs and related objects of pods."""
