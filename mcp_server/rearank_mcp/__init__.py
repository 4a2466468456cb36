"""The reranker as an MCP server: for agents in desktop apps, IDEs and programs."""
