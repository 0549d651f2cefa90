"""One model in several processes that Ray places: over a host's GPUs, or over a cluster's hosts."""
