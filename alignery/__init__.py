"""Alignery: a self-alignment data factory."""

import os

# Nothing leaves the machine. Set before Prefect, vLLM or a hub client is imported; what the user set wins.
_QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "DO_NOT_TRACK": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
for _name, _value in _QUIET.items():
    os.environ.setdefault(_name, _value)
