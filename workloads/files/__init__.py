"""Files inside containers: listed, read, written and transferred over exec."""
