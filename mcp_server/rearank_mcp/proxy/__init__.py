"""Another MCP server, with the results of some of its tools reranked."""
