"""Every fault that docs/reliability.md promises to survive, tried for real."""
