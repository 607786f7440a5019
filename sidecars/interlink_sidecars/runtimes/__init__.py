"""How a container becomes a command on the node; one module per runtime."""
