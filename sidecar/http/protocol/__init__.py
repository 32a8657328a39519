"""HTTP/1.1 on one connection: uvicorn's protocol, with the checks and bounds that it lacks."""
