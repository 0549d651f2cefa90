"""Monitoring: metrics, traces and webhooks. They carry ids, counts and decisions, never a model's text."""
