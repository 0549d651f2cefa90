"""For those who watch the factory: metrics, traces and webhooks. Ids, counts and decisions; never a model's text."""
