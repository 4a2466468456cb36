"""A ranking as text for agents and people, and as an HTML page."""
