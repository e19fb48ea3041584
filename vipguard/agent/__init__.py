"""The resident guard: a pure core that decides, and the run-time that lets it see and act."""
