"""The entrypoints of deployments that were registered before these flows had their names of today."""

from flows.scheduled import refresh_and_publish as cycle
from flows.scheduled import retrain_on_publish as retrain_published

__all__ = ["cycle", "retrain_published"]
