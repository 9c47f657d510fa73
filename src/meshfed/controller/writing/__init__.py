"""What is written to the cluster: objects, statuses, Events, finalizers."""
