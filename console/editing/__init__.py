"""What stands behind the editor: starters, positions in a text, merging, checks against schemas."""
