"""Actions on live objects: rollouts, restarts, drains, bulk changes, and protected objects."""
