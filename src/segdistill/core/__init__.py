"""What every room stands on: errors, files, numbers, classes and the one output type; imports no other room."""
