"""Django's PostgreSQL backend with cheaper health checks, and a cache of rows that is exact."""
