"""What is shown to other programs: Prometheus' metrics, made of the agent's status and of nothing else."""
