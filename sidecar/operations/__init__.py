"""Operations of the command line on a database: each on a connection of its own (psycopg), with its user's rights."""
