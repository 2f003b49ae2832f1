"""Tasks: work over many clusters that runs by itself, on a schedule, an alert, or by hand."""
