"""The store over HTTP: views that the bcs-storage dialect binds to its addresses."""
