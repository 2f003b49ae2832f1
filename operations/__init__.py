"""The job engine: long work as rows in the database, done in short runs by Celery workers."""
