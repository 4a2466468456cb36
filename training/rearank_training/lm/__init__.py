"""Training language models: imitation and reinforcement, by TRL."""
