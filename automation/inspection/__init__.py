"""The inspection of clusters: what is checked, findings, and the report."""
