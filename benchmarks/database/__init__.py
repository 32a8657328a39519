"""What a watch costs the database: triggers, writers, the queue and its claims."""
