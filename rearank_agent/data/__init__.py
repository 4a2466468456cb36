"""Collections, first-stage runs and judgements: read, and written."""
