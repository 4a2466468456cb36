"""Making the models that rerank: heavy, and never imported by `rearank_agent`."""
