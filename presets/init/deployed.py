"""The flows that prefect.yaml deploys, from the installed package."""

from flows.maintain import maintain
from flows.scheduled import refresh_and_publish, retrain_on_publish

__all__ = ["maintain", "refresh_and_publish", "retrain_on_publish"]
