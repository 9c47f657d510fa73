"""An embedded Kubernetes API server, so that federation can be shown and tested where there is no cluster."""
