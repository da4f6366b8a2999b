"""What methods are built from: divergences, connectors, queues, relations."""
