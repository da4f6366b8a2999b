"""What the command line prints, one file a kind of result."""
