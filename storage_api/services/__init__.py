"""What the store does: plain functions over its tables, one module per family."""
