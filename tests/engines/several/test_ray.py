"""Replicas in a Ray cluster of two nodes on this machine: the rows of one engine, whatever is killed meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

import alignery
from tasks.engines import EngineDown, RequestRefused, Sampling, open_engine
from tasks.engines.ray.cluster import QUIET
from warehouse import Lake

pytestmark = [pytest.mark.flow, pytest.mark.skipif(not find_spec("ray"), reason="Ray is not installed")]

NANO = Path(__file__).parents[3] / "nano"
MODEL = {"engine": "transformers", "model": str(NANO / "checkpoint"), "batch_size": 8, "threads": 1, "device": "cpu"}
SLEEPER = {"engine": "scripted", "replies": ["fine"], "latency_s": 0.2}
PLACES, ROWS = 8, 48
WITHIN_S = 600  # of what takes seconds where the cores are free
NODE = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False, "include_log_monitor": False}
SLOW = {"RAY_worker_register_timeout_seconds": "300", "RAY_agent_register_timeout_ms": "300000"}

# A refresh whose every request leaves a line in a file, those of a run that is killed too.
DRIVER = """
import json, os, sys
import alignery
from tasks.engines.ray.client import ActorClient
ask, log = ActorClient.ask, os.open(sys.argv[3], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
async def noted(self, method, *arguments):
    if method == "generate":
        os.write(log, b"x")
    return await ask(self, method, *arguments)
ActorClient.ask = noted
alignery.refresh(json.loads(sys.argv[1]), sys.argv[2])
"""


def ray_of(of, address, replicas=2, **changes):
    quick = {"place_within_s": 60, "give_up_after_s": WITHIN_S, "resources": {"CPU": 1}}
    return {"engine": "ray", "of": of, "replicas": replicas, "address": address} | quick | changes


def preset_of(generator, prompts):
    line = {
        "prompts": [{"path": str(prompts), "field": "prompt", "gate": "off"}],
        "respond": {"sampling": {"max_tokens": 64}},
    }
    return {"name": "rayed", "words": {"variant": "nano"}, "models": {"generator": generator}, "line": line}


def rows(home):
    with Lake.open(home, read_only=True) as lake:
        found = lake.rows("SELECT id, text FROM responses ORDER BY id")
        attempts = lake.rows("SELECT count(*) AS n, count(DISTINCT id) AS ids FROM attempts")[0]
    assert attempts["n"] == attempts["ids"]
    return found, attempts["n"]


def port():
    """One that is free now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def second_node(cluster):
    """At another address, so that the driver is on the head node."""
    return cluster.add_node(**NODE, node_ip_address="127.0.0.2", runtime_env_agent_port=port())


@pytest.fixture(scope="module")
def cluster():
    """A head node with one CPU; a test adds the second node.

    Ray aborts a node whose agents do not say their ports within 15 s, which on busy cores they do not. Nothing here
    needs them: their ports are said before they start.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (QUIET | SLOW | {"RAY_AUTH_MODE": "disabled"}).items():
            patch.setenv(name, value)
        from ray import _raylet
        from ray._private.node import Node
        from ray.cluster_utils import Cluster

        start = Node.start_ray_processes

        def start_with_ports(node):
            for name in ("METRICS_AGENT", "METRICS_EXPORT", "DASHBOARD_AGENT_LISTEN"):
                _raylet.persist_port(node._session_dir, node._node_id, getattr(_raylet, f"{name}_PORT_NAME"), -1)
            start(node)

        patch.setattr(Node, "start_ray_processes", start_with_ports)
        made = Cluster(
            initialize_head=True, head_node_args=NODE | {"runtime_env_agent_port": port(), "no_monitor": True}
        )
        yield made
        made.shutdown()


@pytest.fixture
def node(cluster):
    """The second node, of which a test may kill the processes."""
    made = second_node(cluster)
    yield made
    if made in cluster.list_all_nodes():
        cluster.remove_node(made, allow_graceful=False)


@pytest.fixture
def asked(monkeypatch):
    """How often each prompt was sent to an actor."""
    from tasks.engines.ray.client import ActorClient

    ask, found = ActorClient.ask, Counter()

    async def noted(self, method, *arguments):
        if method == "generate":
            found[arguments[0]] += 1
        return await ask(self, method, *arguments)

    monkeypatch.setattr(ActorClient, "ask", noted)
    return found


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    """A file of nano's held-out prompts."""
    lines = (NANO / "held_out.jsonl").read_text().splitlines(keepends=True)
    file = tmp_path_factory.mktemp("prompts") / "prompts.jsonl"
    file.write_text("".join(lines[:ROWS]))
    return file


async def until(so, seconds=WITHIN_S):
    async with asyncio.timeout(seconds):
        while not so():
            await asyncio.sleep(0.02)


async def both_ready(engine):
    await until(lambda: len(engine.replicas.all) == 2 and not any(one.health_probe for one in engine.replicas.all))


def pid_of(replica):
    import ray

    return ray.get(replica.client._actor.__ray_call__.remote(lambda self: os.getpid()))


def test_two_replicas_make_the_rows_of_one_engine_and_a_driver_that_dies_loses_none(cluster, node, prompts, tmp_path):
    alignery.refresh(preset_of(MODEL, prompts), tmp_path / "alone")
    home, log = tmp_path / "lake", tmp_path / "asked"
    preset = json.dumps(preset_of(ray_of(MODEL, cluster.address), prompts))
    run = [sys.executable, "-c", DRIVER, preset, str(home), str(log)]
    driver = subprocess.Popen(run)
    end = time.monotonic() + WITHIN_S
    while driver.poll() is None and time.monotonic() < end and (not log.exists() or log.stat().st_size < 20):
        time.sleep(0.002)
    driver.send_signal(signal.SIGKILL)
    assert driver.wait() == -signal.SIGKILL, "it finished before it could be killed"
    subprocess.run(run, check=True, timeout=WITHIN_S)
    found, attempts = rows(home)
    assert (found, attempts) == rows(tmp_path / "alone")
    assert attempts <= log.stat().st_size <= attempts + 2 * PLACES


def test_an_actor_that_dies_is_placed_again_and_what_it_had_is_asked_again(cluster, node, asked):
    async def main():
        async with open_engine(ray_of(MODEL, cluster.address)) as engine, open_engine(MODEL) as alone:
            await both_ready(engine)
            prompts = [f"Human: Say {number} words of tea.\nAssistant:" for number in range(120)]
            wanted = [Sampling(temperature=1.0, max_tokens=48, seed=number) for number in range(120)]
            asks = [asyncio.create_task(engine.generate(*one)) for one in zip(prompts, wanted, strict=True)]
            await until(lambda: sum(ask.done() for ask in asks) >= 20)
            os.kill(pid_of(engine.replicas.all[0]), signal.SIGKILL)
            replies = await asyncio.gather(*asks)
            await both_ready(engine)
            same = await asyncio.gather(*(alone.generate(*one) for one in zip(prompts, wanted, strict=True)))
            chosen = await engine.choose(prompts[0], [" A", " B"])
            return replies, same, chosen, await alone.choose(prompts[0], [" A", " B"]), engine.identity, alone.identity

    replies, same, chosen, by_one, identity, alone = asyncio.run(main())
    assert [reply.text for reply in replies] == [reply.text for reply in same]
    assert chosen == pytest.approx(by_one, abs=1e-5)
    assert chosen.mass == pytest.approx(by_one.mass, abs=1e-5)
    assert identity == alone
    assert len(asked) == 120
    assert 120 < asked.total() <= 120 + PLACES


def test_a_node_that_dies_takes_its_replica_away_until_there_is_another(cluster, node, asked):
    async def main():
        async with open_engine(ray_of(SLEEPER, cluster.address)) as engine:
            await both_ready(engine)
            asks = [asyncio.create_task(engine.generate(str(number), Sampling())) for number in range(1500)]
            await until(lambda: sum(ask.done() for ask in asks) >= 200)
            await asyncio.to_thread(cluster.remove_node, node, allow_graceful=False)
            replies = await asyncio.gather(*asks)
            left = sum(one.health_probe is None for one in engine.replicas.all)
            again = second_node(cluster)  # in this thread, for Ray sets a signal handler
            await both_ready(engine)
            return replies, left, again

    replies, left, again = asyncio.run(main())
    cluster.remove_node(again, allow_graceful=False)
    assert {reply.text for reply in replies} == {"fine"}
    assert left == 1
    assert len(asked) == 1500
    assert 1500 < asked.total() <= 1500 + 64


def test_replicas_are_added_while_requests_wait_and_taken_away_when_they_do_not(cluster, node):
    bounds = {"min": 1, "max": 2, "up_after_s": 1, "down_after_s": 1}

    async def main():
        async with open_engine(ray_of(SLEEPER, cluster.address, bounds)) as engine:
            asks = [asyncio.create_task(engine.generate(str(number), Sampling())) for number in range(6000)]
            await both_ready(engine)
            await asyncio.gather(*asks)
            await until(lambda: len(engine.replicas.all) == 1, 20)
            return await engine.generate("after", Sampling())

    assert asyncio.run(main()).text == "fine"


def test_a_replica_that_fits_nowhere_is_one_sentence_after_the_stated_wait(cluster):
    async def main():
        async with open_engine(ray_of(SLEEPER, cluster.address, 1, resources={"CPU": 1, "gold": 2}, place_within_s=2)):
            raise AssertionError("opened")

    with pytest.raises(EngineDown, match=r"no place within 2 s .*asked for \[\{'CPU': 1.0, 'gold': 2.0\}\], the clus"):
        asyncio.run(main())


def test_a_model_that_no_actor_can_open_is_said_at_once(cluster, tmp_path):
    (tmp_path / "config.json").write_text("{}")

    async def main():
        async with open_engine(ray_of({"engine": "transformers", "model": str(tmp_path)}, cluster.address, 1)):
            raise AssertionError("opened")

    with pytest.raises(EngineDown, match=r"cannot load .*refuses any request"):
        asyncio.run(main())


def test_a_request_that_is_refused_is_refused_and_a_closed_engine_answers_nobody(cluster):
    long = "tea " * 5000

    async def main():
        async with open_engine(ray_of(MODEL, cluster.address, 1)) as engine:
            with pytest.raises(RequestRefused, match="tokens"):
                await engine.generate(long, Sampling())
        async with open_engine(ray_of(SLEEPER | {"latency_s": 60}, cluster.address, 1)) as engine:
            late = asyncio.create_task(engine.generate("Human: tea", Sampling()))
            await asyncio.sleep(0.05)
        with pytest.raises(EngineDown):
            await late
        with pytest.raises(EngineDown, match="closed"):
            await engine.generate("x", Sampling())

    asyncio.run(main())


def test_a_cluster_of_its_own_listens_on_the_loopback_address_alone_and_leaves_signals_to_the_process(tmp_path):
    """In a process of its own, for Ray reads these settings once."""
    code = (
        "import asyncio, json, os, signal, subprocess\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('SIGTERM is handled'))\n"
        "from tasks.engines import Sampling, open_engine\n"
        "async def main():\n"
        f"    async with open_engine({ray_of(SLEEPER, None, 1)!r}) as engine:\n"
        "        print((await engine.generate('x', Sampling())).text)\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        print(json.dumps(subprocess.run(['ss', '-ltnpH'], capture_output=True, text=True).stdout))\n"
        "asyncio.run(main())\n"
    )
    own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {"HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=WITHIN_S, env=own, check=True
    )
    text, signal_text, sockets = done.stdout.splitlines()
    assert (text, signal_text) == ("fine", "SIGTERM is handled")
    assert "SIGTERM received" not in done.stderr
    rays = [line for line in json.loads(sockets).splitlines() if "raylet" in line or "gcs_server" in line]
    assert rays
    assert all(line.split()[3].startswith(("127.", "[::1]", "[::ffff:127.")) for line in rays), rays
