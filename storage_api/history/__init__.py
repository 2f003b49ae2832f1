"""Objects as they were: as-of reads, differences, authors of changes, restoring."""
