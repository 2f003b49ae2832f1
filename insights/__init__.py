"""What changed and why something fails: answers that take a person many calls."""
