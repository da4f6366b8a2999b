"""What is fitted after the last step to how a network is tested: batch norm's statistics and its classes' biases."""
