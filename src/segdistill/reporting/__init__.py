"""Tables and pictures of what a run was worth."""
