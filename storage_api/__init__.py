"""The snapshot store over PostgreSQL JSONB."""
