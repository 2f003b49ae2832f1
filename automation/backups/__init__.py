"""Archives of namespaces: taking, comparing and restoring them."""
