"""Federation on one machine: what stands in for clusters, for the demo, the tests and the curious."""
