"""Streams to people: logs that follow, terminals, recordings; tickets to open them with."""
