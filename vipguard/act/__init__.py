"""Changes the world, one step a function, and looks again. A step that fails raises `CouldNotDo`."""
