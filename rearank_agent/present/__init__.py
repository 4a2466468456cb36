"""A ranking for whoever reads it: an agent, a person, a browser."""
