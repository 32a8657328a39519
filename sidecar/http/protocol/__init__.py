"""HTTP/1.1 on a connection, in place of what uvicorn leaves open."""
