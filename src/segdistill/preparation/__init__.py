"""What makes a data set ready: archives, conversions and checks, one file a data set."""
