"""An Airflow 3 operator that runs a verb of Alignery in a Python environment of its own, and a DAG of such tasks."""

import json
import subprocess
from datetime import datetime
from itertools import pairwise
from typing import Any

from airflow.exceptions import AirflowException, AirflowFailException
from airflow.sdk import DAG, BaseOperator


class AligneryOperator(BaseOperator):
    """Runs `alignery VERB --json`; what it prints is the task's XCom, and its log is the task's log."""

    template_fields = ("verb", "preset", "home")

    def __init__(self, *, verb: str, preset: str, home: str, command: str = "alignery", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.verb, self.preset, self.home, self.command = verb, preset, home, command

    def execute(self, context: Any) -> Any:
        line = [self.command, self.verb, "--preset", self.preset, "--home", self.home, "--no-prefect", "--json"]
        done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode not in (0, 3):  # 3: stopped short of its target, with what it had committed
            mistake = done.returncode == 2  # which a retry would only repeat
            raise (AirflowFailException if mistake else AirflowException)(f"{self.verb}: exit code {done.returncode}")
        return json.loads(done.stdout)


with DAG("alignery", schedule="0 3 * * *", start_date=datetime(2026, 1, 1), catchup=False, max_active_runs=1) as dag:
    place = {"preset": "/srv/factory/preset.yaml", "home": "/srv/factory/.alignery"}
    tasks = [
        AligneryOperator(task_id=verb, verb=verb, **place) for verb in ("refresh", "publish", "retrain", "promote")
    ]
    for before, after in pairwise(tasks):
        before >> after
