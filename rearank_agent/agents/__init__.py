"""The reranker inside pydantic-ai agents."""
