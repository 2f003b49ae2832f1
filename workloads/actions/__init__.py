"""Verbs on live objects: rollouts, restarts, node maintenance, bulk changes, and what protects objects from them."""
