"""Language models as policies: prompts, conversations, limits on calls, and a server."""
