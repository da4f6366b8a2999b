"""What stands in the way of a step: numbers that are not finite and samples that can not be read."""
