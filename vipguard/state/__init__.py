"""What survives the agent: its memory on disk."""
