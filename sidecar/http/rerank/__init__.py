"""Reranking: documents ordered by how well they answer a query, in the shapes of several APIs."""
