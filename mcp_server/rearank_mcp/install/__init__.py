"""The server's entry in the configuration files of MCP hosts."""
