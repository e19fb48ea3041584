"""What is wrong here that will hurt later? Findings with their evidence and what to do; nothing is changed."""
