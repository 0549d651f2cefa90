"""Specs, where a model is looked for, what it is known by, and the scripted engine."""

from __future__ import annotations

import asyncio
import gc
import json
import shutil
import subprocess
import sys

import pytest

from alignery.hashing import digest
from tasks.engines import (
    Completion,
    EngineDown,
    RequestRefused,
    Sampling,
    ScriptedEngine,
    SpecError,
    TransformersSpec,
    open_engine,
    parse_spec,
)
from tasks.engines.identity import ADAPTER, folder_hash, identity_of, locate, locate_adapter


def test_importing_the_package_loads_neither_torch_nor_vllm():
    code = "import sys, tasks.engines; print({'torch', 'transformers', 'vllm', 'httpx', 'aiohttp'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("data", "word"),
    [
        ({"engine": "transformers", "model": "m", "batchsize": 3}, "batchsize"),
        ({"engine": "llamacpp", "model": "m"}, "llamacpp"),
        ({"model": "m"}, "engine"),
        ({"engine": "openai", "base_url": "localhost", "model": "m"}, "base_url"),
        ({"engine": "scripted", "replies": []}, "replies"),
    ],
)
def test_a_wrong_spec_names_the_field(data, word):
    with pytest.raises(SpecError, match=word) as caught:
        parse_spec(data, "presets/x.yaml: generator")
    assert str(caught.value).startswith("presets/x.yaml: generator")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("temperature", -1.0), ("top_p", 0.0), ("top_k", -1), ("max_tokens", 0), ("stop", ("a", ""))],
        *[("choices", ("Yes", "")), ("pattern", "(open"), ("pattern", "")],
    ],
)
def test_a_sampling_that_no_engine_could_follow_names_its_setting(name, value):
    with pytest.raises(ValueError, match=rf"sampling\.{name}: got"):
        Sampling(**{name: value})


def test_a_form_is_one_of_two_and_leaves_older_work_keys_alone():
    with pytest.raises(ValueError, match=r"sampling\.pattern: got choices too"):
        Sampling(choices=("Yes", "No"), pattern="Yes|No")
    free = Sampling(0.7, max_tokens=9, stop=("END",), seed=3).identity()
    assert free == {
        "temperature": 0.7,
        "top_p": 1.0,
        "top_k": 0,
        "max_tokens": 9,
        "frequency_penalty": 0.0,
        "presence_penalty": 0.0,
        "stop": ("END",),
    }
    assert digest(free) == "63bb7a7b4a3f2f9af3dfd494c91ce429"  # as before there were forms
    assert Sampling(choices=("Yes", "No")).identity() == Sampling().identity() | {"choices": ("Yes", "No")}
    assert Sampling(pattern="[0-9]+").identity() == Sampling().identity() | {"pattern": "[0-9]+"}


def test_a_right_spec_is_its_type():
    assert parse_spec({"engine": "transformers", "model": "m"}) == TransformersSpec(engine="transformers", model="m")


def server(*urls, **changes):
    return parse_spec(
        {"engine": "openai", "base_url": urls[0] if len(urls) == 1 else list(urls), "model": "m"} | changes
    )


def test_base_urls_are_one_or_several_and_as_an_environment_variable_holds_them():
    one, two = "http://one:8000/v1", "https://two/v1"
    assert server(one + "/").base_url == (one,)
    assert server(one, two).base_url == server(f"{one}, {two}/").base_url == (one, two)
    for wrong in (
        "one:8000/v1",
        "http://me:word@one/v1",
        f"{one}?key=1",
        "http://one:99999/v1",
        "http://one:0/v1",
        "http://one:port/v1",
        "http://one:/v1",
        "http://:8000/v1",
        "http://[::1/v1",
        "http://a..b/v1",
        f"http://{'a' * 64}/v1",
        "ftp://one/v1",
        "http:///v1",
        "http://one\\two/v1",
        "http://one\x00/v1",
        f"{one},",
        f"{one},{one}/",
        [],
        [one, 3],
        None,
    ):
        with pytest.raises(SpecError, match=r"base_url: .*expected http\(s\)://host:port/v1"):
            parse_spec({"engine": "openai", "base_url": wrong, "model": "m"})


def test_a_host_may_be_an_address_or_a_name_in_any_script():
    for url in ("http://[::1]:8000/v1", "http://127.0.0.1/v1", "https://m\u00fcnchen.example:8443/openai/v1"):
        assert server(url + "//").base_url == (url,)


def test_neither_a_models_own_code_nor_a_limits_name_is_recognised_by_luck():
    with pytest.raises(SpecError, match="own code is never run"):
        parse_spec({"engine": "vllm", "model": "m", "options": {"trust_remote_code": True}})
    plain = server("http://one/v1")
    assert server("http://one/v1", max_tokens_field="max_completion_tokens").identity() == plain.identity()


def test_a_further_server_is_no_other_model_and_a_model_that_moves_can_keep_its_name():
    one, two, three = (f"http://host-{n}/v1" for n in range(3))
    name = server(one).identity()
    assert name == f"openai:{one}:m"
    assert server(one, two).identity() == server(one, three, two, in_flight=9, timeout_s=1.0).identity() == name
    assert server(two, known_as=one).identity() == name  # moved: what was answered is known by the old address
    assert len({name, server(two).identity(), server(one, model="n").identity()}) == 3


def test_the_options_of_every_request_are_part_of_what_the_model_is():
    thinks = server("http://one/v1", options={"chat_template_kwargs": {"thinking": True}, "a": 1})
    again = server("http://one/v1", options={"a": 1, "chat_template_kwargs": {"thinking": True}})
    assert thinks.identity() == again.identity() != server("http://one/v1").identity()


@pytest.mark.parametrize("engine", ["transformers", "vllm"])
@pytest.mark.parametrize("model", ["./gone", "/gone/model", "~/gone", "gone", "a/b/c", "tasks/gone"])
def test_a_path_that_is_not_there_is_never_looked_up_on_a_hub(engine, model):
    async def main():
        async with open_engine({"engine": engine, "model": model}):
            raise AssertionError("opened")

    with pytest.raises(SpecError, match=r"no model folder .*gone|no model folder a/b/c"):
        asyncio.run(main())


def test_owner_slash_name_is_a_hub_model_known_by_its_revision(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert locate("some-owner/some-model") == ("some-owner/some-model", False)
    assert identity_of("vllm", "some-owner/some-model", "v2", "auto") == "vllm:auto:some-owner/some-model@v2"
    (tmp_path / "some-owner").mkdir()
    with pytest.raises(SpecError, match="no model folder"):
        locate("some-owner/some-model")


def test_a_folder_without_a_config_is_named(tmp_path):
    with pytest.raises(SpecError, match=r"config\.json"):
        locate(str(tmp_path))


def test_identity_follows_content_and_dtype_but_not_the_place(tiny, tmp_path):
    copy = shutil.copytree(tiny, tmp_path / "elsewhere")
    (copy / "README.md").write_text("a card changes nothing")
    (copy / "report.json").write_text("{}")
    name = identity_of("transformers", str(tiny), "main", "float32")
    assert identity_of("transformers", str(copy), "main", "float32") == name
    assert identity_of("transformers", str(copy), "main", "bfloat16") != name
    assert identity_of("vllm", str(copy), "main", "float32") != name
    for file in ("model.safetensors", "tokenizer.json", "config.json"):
        before = folder_hash(copy)
        content = bytearray((copy / file).read_bytes())
        content[-2] ^= 1
        (copy / file).write_bytes(bytes(content))
        assert folder_hash(copy) != before, file


def save_adapter(folder, weights=b"weights", **config):
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4} | config))
    (folder / "adapter_model.safetensors").write_bytes(weights)
    return str(folder)


@pytest.mark.parametrize("engine", ["transformers", "vllm"])
def test_an_adapter_is_part_of_the_identity_by_its_content(tiny, tmp_path, engine):
    def name(lora):
        return parse_spec({"engine": engine, "model": str(tiny), "lora": lora}).identity()

    one, moved = save_adapter(tmp_path / "one"), save_adapter(tmp_path / "moved")
    assert name(one) == name(moved) == f"{name(None)}+lora:{folder_hash(tmp_path / 'one', ADAPTER)}"
    others = [save_adapter(tmp_path / "other", b"others"), save_adapter(tmp_path / "alpha", lora_alpha=32)]
    assert len({name(None), name(one), *map(name, others)}) == 4


@pytest.mark.parametrize("engine", ["transformers", "vllm"])
def test_a_folder_that_is_no_adapter_is_named_before_anything_is_loaded(tiny, tmp_path, engine):
    (tmp_path / "bare").mkdir()
    broken = save_adapter(tmp_path / "broken")
    (tmp_path / "broken/adapter_config.json").write_text("{")
    prompt = save_adapter(tmp_path / "prompt", peft_type="PROMPT_TUNING", r=None)
    for folder, words in (
        (str(tmp_path / "gone"), "gone holds no adapter_config.json"),
        (str(tmp_path / "bare"), "bare holds no adapter_config.json"),
        (broken, "is no adapter's configuration"),
        (prompt, "got peft_type 'PROMPT_TUNING'"),
    ):
        with pytest.raises(SpecError, match=rf"engine\.lora: .*{words}"):
            parse_spec({"engine": engine, "model": str(tiny), "lora": folder}).identity()


def test_an_adapters_rank_is_its_largest(tmp_path):
    assert locate_adapter(save_adapter(tmp_path / "a")).rank == 4
    assert locate_adapter(save_adapter(tmp_path / "b", rank_pattern={"down_proj": 12})).rank == 12


def test_a_vllm_of_several_models_has_places_for_each():
    assert parse_spec({"engine": "vllm", "model": "m", "in_flight": 100, "data_parallel_size": 4}).places == 400


def test_a_vllm_has_half_more_places_than_it_batches_unless_it_is_set():
    vllm = {"engine": "vllm", "model": "m"}
    assert [parse_spec(vllm | {"options": {"max_num_seqs": most}}).places for most in (1, 4, 256)] == [2, 6, 384]
    assert parse_spec(vllm | {"in_flight": 3, "options": {"max_num_seqs": 4}}).places == 3
    assert parse_spec(vllm).at_once(256) == 384 < parse_spec(vllm).places


def test_a_big_file_is_sampled_from_head_to_tail(tmp_path, monkeypatch):
    from tasks.engines import identity

    monkeypatch.setattr(identity, "WHOLE", 1000)
    monkeypatch.setattr(identity, "SLICE", 10)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(bytes(100_000))
    hashes = {folder_hash(tmp_path)}
    for place in (5, 99_995, (100_000 - 10) * 30 // 63):
        with weights.open("r+b") as file:
            file.seek(place)
            file.write(b"\1")
        hashes.add(folder_hash(tmp_path))
    assert len(hashes) == 4


def test_scripted_replies_in_turn_and_remembers():
    async def main():
        async with open_engine({"engine": "scripted", "replies": ["one two", "three"]}) as engine:
            texts = [(await engine.generate("a b c", Sampling())).text for _ in range(3)]
            return texts, await engine.choose("p", ["A", "B"]), engine

    texts, even, engine = asyncio.run(main())
    assert texts == ["one two", "three", "one two"]
    assert even == [0.5, 0.5]
    assert [call.prompt for call in engine.calls] == ["a b c"] * 3 + ["p"]
    assert engine.calls[-1].options == ("A", "B")
    assert engine.identity == ScriptedEngine(["one two", "three"]).identity != ScriptedEngine(["x"]).identity


def test_scripted_mapping_callable_and_faults():
    reply = Completion("cut sho", "length", 3, 2, 0.5)
    engine = ScriptedEngine({"weather": reply, "bad": RequestRefused("no")}, choices=[[3, 1]], down_after=4)

    async def main():
        chat = [{"role": "user", "content": "the weather?"}]
        found = [await engine.generate(chat, Sampling()), await engine.choose("x", ["a", "b"])]
        for prompt, fault in (("bad", RequestRefused), ("unknown", RequestRefused), ("weather", EngineDown)):
            with pytest.raises(fault):
                await engine.generate(prompt, Sampling())
        seeded = ScriptedEngine(lambda prompt, sampling: f"{prompt}{sampling.seed}", choices=lambda p, o: [0, 1])
        return [*found, (await seeded.generate("s", Sampling(seed=4))).text, await seeded.choose("", ["a", "b"])]

    assert asyncio.run(main()) == [reply, [0.75, 0.25], "s4", [0.0, 1.0]]


def test_engines_leave_the_collector_as_it_was_in_whichever_order_they_close():
    spec = {"engine": "openai", "base_url": "http://127.0.0.1:9/v1", "model": "m"}

    async def first_in_first_out() -> int:
        first, second = open_engine(spec), open_engine(spec)
        await first.__aenter__()
        await second.__aenter__()
        frozen = gc.get_freeze_count()
        await first.__aexit__(None, None, None)
        await second.__aexit__(None, None, None)
        return frozen

    before = gc.get_threshold()
    assert asyncio.run(first_in_first_out()) > 0
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)


@pytest.mark.parametrize("path", ["./" + "x" * 5000, "~nobody-of-that-name/model", "\x1b]0;owned\x07"])
def test_a_path_that_cannot_be_is_one_printable_sentence(path):
    for find in (locate, locate_adapter):
        with pytest.raises(SpecError) as raised:
            find(path)
        assert str(raised.value).isprintable()
        assert len(str(raised.value)) < 1000


def test_what_ray_keeps_for_a_replica_follows_from_its_model():
    def bundles(resources=None, **of):
        return parse_spec(
            {"engine": "ray", "of": {"engine": "vllm", "model": "m"} | of, "resources": resources or {}}
        ).bundles

    assert bundles() == [{"CPU": 1, "GPU": 1}]
    assert bundles({"GPU": 0}) == [{"CPU": 1}]
    assert bundles({"CPU": 4, "gold": 1}, tensor_parallel_size=2) == [{"CPU": 4, "GPU": 2, "gold": 1}]
    over_hosts = {"distributed_executor_backend": "ray", "pipeline_parallel_size": 2}
    assert bundles(tensor_parallel_size=2, options=over_hosts) == [{"CPU": 1, "GPU": 1}] * 4
    sleeper = {"engine": "scripted", "replies": ["fine"]}
    for wrong in ({"replicas": 0}, {"replicas": {"min": 3, "max": 2}}, {"address": "ray://head:10001"}):
        with pytest.raises(SpecError, match=r"replicas|address"):
            parse_spec({"engine": "ray", "of": sleeper} | wrong)
