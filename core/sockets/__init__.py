"""What every WebSocket of ours shares: protocol, handshake, tickets, limits, buffers."""
