"""Reads the world into evidence. What could not be seen becomes None or `CouldNotLook`; nothing here decides."""
