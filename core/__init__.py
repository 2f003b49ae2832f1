"""The ground floor: errors, encryption at rest, JSON text, the HTTP kit. It imports nothing of the rest."""
