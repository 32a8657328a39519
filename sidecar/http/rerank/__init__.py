"""Documents in the order of how well they answer a query, in the shapes of the servers whose clients ask here."""
