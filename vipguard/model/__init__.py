"""The values that the rooms exchange. Nothing here looks at the world, and nothing of ours is imported."""
