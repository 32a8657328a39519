"""`GET /map`: a sample of a watch as points in the plane, to look for clusters and duplicates."""
