"""Orders that sell capacity."""
