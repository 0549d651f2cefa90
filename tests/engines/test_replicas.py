"""Several servers behind one engine: balance, back-off and recovery, one that dies and comes back, all that die."""

from __future__ import annotations

import asyncio

import pytest
from faulty import Faulty, ask, error, ok, spec

from tasks.engines import EngineDown, OpenAISpec, RequestRefused, Sampling, open_engine
from tasks.engines.replicas import Advice, Replicas, beginnings

SLOW = 0.01


async def silent(wire):
    """A question that is never asked here."""
    raise AssertionError


async def until(so, seconds=60):
    """Wait for something, and not for ever."""
    async with asyncio.timeout(seconds):
        while not so():
            await asyncio.sleep(0.001)


def quick(words, number):
    return ok(after_s=SLOW)


class Holding(Faulty):
    """Answers so many, and then none before it has died: however slow the machine is, its places are taken by then."""

    def __init__(self, first: int = 0) -> None:
        super().__init__(lambda words, number: ok(after_s=SLOW if self.died or self.answered.total() < first else 60))
        self.died = False

    async def die(self) -> None:
        self.died = True
        await super().die()


def test_the_number_in_flight_halves_in_a_round_of_refusals_and_grows_by_one_in_a_round_of_answers():
    async def main():
        url = "http://127.0.0.1:1/v1"
        replicas = Replicas(OpenAISpec(engine="openai", base_url=(url,), model="m"), silent, Advice("", ""))
        replica, windows = replicas.add(url, None), []
        for _ in range(3):
            for _ in range(int(replica.window)):
                replicas.refused(replica)
            windows.append(replica.window)
        for _ in range(8):
            replicas.answered(replica)
        windows.append(replica.window)
        for _ in range(99):
            replicas.refused(replica)
        windows.append(replica.window)
        for _ in range(5000):
            replicas.answered(replica)
        return [*windows, replica.window]

    down, lower, low, up, lowest, highest = asyncio.run(main())
    assert (down, lower, low, lowest, highest) == (32, 16, 8, 1, 64)
    assert 8.9 < up <= 9


def test_a_server_with_fewer_places_is_found_out_kept_full_and_grown_into_when_it_grows():
    """429 above 8 at once, then above 40: most are answered at the first try, none is lost or answered twice."""
    places = 8

    async def main():
        nonlocal places

        def script(words, number):
            return error(429, "too many") if server.now > places else ok(after_s=SLOW)

        async with Faulty(script) as server, open_engine(spec(server.url)) as engine:
            found = []
            for places in (8, 40):
                server.asked.clear()
                server.most = 0
                asks = (engine.generate(f"{places} {number}", Sampling()) for number in range(600))
                replies = await asyncio.gather(*asks)
                found.append((len(replies), server.asked.total(), server.most, engine.replicas.all[0].window))
            return found, server

    (few, many), server = asyncio.run(main())
    assert few[0] == many[0] == 600
    assert set(server.answered.values()) == {1}
    assert few[1] < 900  # half as many more at the very most, although it began with 64
    assert few[3] < 20
    assert many[2] > 20
    assert many[3] > few[3] + 8


def test_the_least_busy_server_is_asked_and_each_has_its_own_limit():
    async def main():
        async with Faulty(quick) as one, Faulty(lambda words, number: ok(after_s=30 * SLOW)) as two:
            found = await ask([one.url, two.url], *map(str, range(300)), in_flight=8)
            return found, one, two

    found, one, two = asyncio.run(main())
    assert {reply.text for reply in found} == {"fine"}
    assert one.most == two.most == 8
    assert one.asked.total() + two.asked.total() == 300
    assert one.asked.total() > 2 * two.asked.total() >= 16


def test_a_server_that_dies_is_taken_out_and_brought_back():
    async def main():
        async with Faulty(quick) as one, Holding() as two:  # noqa: SIM117
            async with open_engine(spec(one.url, two.url, in_flight=8)) as engine:
                asks = [asyncio.create_task(engine.generate(str(number), Sampling())) for number in range(200)]
                await until(lambda: two.now == 8)
                await two.die()
                replies = await asyncio.gather(*asks)
                before = two.rows.total()
                await two.live()
                await until(lambda: engine.replicas.all[1].health_probe is None)
                replies += await asyncio.gather(*(engine.generate(f"more {n}", Sampling()) for n in range(100)))
                return replies, before, one, two

    replies, before, one, two = asyncio.run(main())
    assert len(replies) == 300
    assert 8 <= before < 100
    assert two.rows.total() > before + 20
    rows = [words for words in one.answered + two.answered if not words.startswith("Say yes")]
    assert len(rows) == 300
    assert all((one.answered + two.answered)[words] == 1 for words in rows)


def test_a_server_whose_model_is_dead_draws_no_rows_to_itself():
    async def main():
        async with Faulty(quick) as one, Faulty(lambda words, number: error(500, "dead")) as two:
            return await ask([two.url, one.url], *map(str, range(200)), retries=3), two

    found, two = asyncio.run(main())
    assert {reply.text for reply in found} == {"fine"}
    assert two.rows.total() <= 64 + 8


def test_a_server_with_the_wrong_model_is_left_out_while_the_other_answers():
    async def main():
        async with Faulty(quick) as one, Faulty(lambda words, number: error(404, "no such model")) as two:
            return await ask([one.url, two.url], *map(str, range(200)), in_flight=4)

    assert {reply.text for reply in asyncio.run(main())} == {"fine"}


def test_the_only_server_dies_in_the_middle_and_is_back_in_time():
    async def main():
        async with Holding() as server, open_engine(spec(server.url, in_flight=8)) as engine:
            asks = [asyncio.create_task(engine.generate(str(number), Sampling())) for number in range(100)]
            await until(lambda: server.now == 8)
            await server.die()
            await asyncio.sleep(20 * SLOW)
            await server.live()
            return await asyncio.gather(*asks), server

    replies, server = asyncio.run(main())
    assert len(replies) == 100
    assert all(server.answered[words] == 1 for words in server.rows)
    assert sum(count > 1 for count in server.rows.values()) <= 8  # those that were on their way when it died


def test_a_row_that_kills_the_server_each_time_takes_no_other_row_with_it():
    async def main():
        async def restart():
            await server.die()
            await asyncio.sleep(2 * SLOW)
            await server.live()

        def script(words, number):
            if words == "poison":
                restarts.append(asyncio.create_task(restart()))
            return ok(after_s=SLOW)

        restarts: list[asyncio.Task] = []
        async with Faulty(script) as server, open_engine(spec(server.url, in_flight=8)) as engine:
            asks = ["poison" if number == 30 else str(number) for number in range(80)]
            found = await asyncio.gather(*(engine.generate(ask, Sampling()) for ask in asks), return_exceptions=True)
            return found, len(restarts)

    found, restarts = asyncio.run(main())
    assert restarts in (5, 6)  # four retries, and one more if the server was still down when it was asked
    assert isinstance(found.pop(30), RequestRefused)
    assert [reply.text for reply in found] == ["fine"] * 79


def test_all_dead_ends_in_one_sentence_and_the_engine_is_back_with_a_server():
    async def main():
        async with Holding(5) as one, Holding(5) as two:
            changes = {"in_flight": 2, "give_up_after_s": 0.4}
            async with open_engine(spec(one.url, two.url, **changes)) as engine:
                asks = [asyncio.create_task(engine.generate(str(number), Sampling())) for number in range(30)]
                await until(lambda: one.answered.total() >= 5 and two.answered.total() >= 5)
                await one.die()
                await two.die()
                found = await asyncio.gather(*asks, return_exceptions=True)
                found += await asyncio.gather(engine.generate("at once", Sampling()), return_exceptions=True)
                await two.live()
                await until(lambda: engine.replicas.all[1].health_probe is None)
                return found, await engine.generate("again", Sampling()), one, two

    found, again, one, two = asyncio.run(main())
    faults = [fault for fault in found if isinstance(fault, Exception)]
    assert 10 <= len(faults) < 31
    assert {type(fault) for fault in faults} == {EngineDown}
    assert all(fault.recoverable for fault in faults)
    assert one.url in str(faults[-1])
    assert two.url in str(faults[-1])
    assert "answered nothing for 0.4 s (give_up_after_s); start the server again" in str(faults[-1])
    assert again.text == "fine"


def test_the_question_of_a_server_in_doubt_is_one_token_and_never_the_same():
    async def main():
        script = lambda words, number: error(500, "dead")  # noqa: E731
        async with Faulty(script) as server:
            await ask(server.url, "x", give_up_after_s=0.5)
            return [body for _, body, _, _ in server.seen if body["prompt"] != "x"]

    questions = asyncio.run(main())
    assert len(questions) > 2
    assert {body["max_tokens"] for body in questions} == {1}
    assert len({body["prompt"] for body in questions}) == len(questions)


@pytest.mark.parametrize("in_flight", [1, 64])
def test_hundreds_at_once_are_all_answered_in_turn(in_flight):
    async def main():
        async with Faulty() as server:
            found = await ask(server.url, *map(str, range(400)), in_flight=in_flight)
            return found, [body["prompt"] for _, body, _, _ in server.seen]

    found, order = asyncio.run(main())
    assert len(found) == 400
    if in_flight == 1:
        assert order == [str(number) for number in range(400)]


class Still:
    """A client of which nothing is asked."""

    def cut(self):
        pass

    async def close(self):
        pass


def balanced(in_flight, names):
    spec = OpenAISpec(engine="openai", base_url=("http://127.0.0.1:1/v1",), model="m", in_flight=in_flight)
    replicas = Replicas(spec, silent, Advice("", ""))
    return replicas, [replicas.add(name, Still()) for name in names]


def test_a_prompt_goes_where_its_beginning_went_until_that_replica_is_an_eighth_busier():
    async def main():
        replicas, _ = balanced(16, "abc")
        prompts = [beginnings(letter * 1000) for letter in "xyz"]
        homes = [await replicas.enter(None, prompt) for prompt in prompts]
        assert len(set(homes)) == 3
        again = [await replicas.enter(None, prompt) for prompt in prompts for _ in range(2)]
        assert again == [home for home in homes for _ in range(2)]
        # Now all from one beginning: never more than 2 above the least busy one.
        for _ in range(30):
            await replicas.enter(None, prompts[0])
            held = [one.taken for one in replicas.all]
            assert max(held) - min(held) <= 3
        return held

    assert sum(asyncio.run(main())) == 39


def test_two_prompts_share_what_they_begin_with_by_half_its_length_or_more():
    shared = "rules " * 200
    one, two = beginnings(shared + "x" * 5000), beginnings(shared + "y" * 5000)
    alike = sum(a == b for a, b in zip(one, two, strict=True))
    assert 256 * 2 ** (alike - 1) <= len(shared) < 256 * 2**alike
    assert beginnings("short") == []


def test_a_replica_that_is_removed_is_closed_after_its_last_request_and_asked_for_nothing():
    async def main():
        replicas, (one, two) = balanced(2, "ab")
        closed = []
        one.client.close = lambda: asyncio.sleep(0, closed.append("a"))
        held = [await replicas.enter() for _ in range(4)]
        waits = [asyncio.create_task(replicas.enter()) for _ in range(2)]
        await asyncio.sleep(0)
        replicas.remove(one)
        for replica in held:
            assert not closed or replica is two
            replicas.leave(replica)
        assert {await wait for wait in waits} == {two}
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return closed

    assert asyncio.run(main()) == ["a"]
