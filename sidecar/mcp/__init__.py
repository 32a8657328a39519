"""`sidecar mcp`: tools for language models, over a running service. The only package that imports the MCP SDK."""
