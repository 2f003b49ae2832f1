"""The ground floor: errors, encryption, JSON text, the HTTP kit; it imports nothing else."""
