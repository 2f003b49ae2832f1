"""From API answers to what a page shows: columns, states, charts, graphs. Pure functions."""
