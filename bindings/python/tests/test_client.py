import asyncio
import json

import pytest
from kubeedge import Client, Error


def run(lab, body, **options):
    async def main():
        async with Client(f"tcp://127.0.0.1:{lab.mqtt}", **options) as client:
            return await asyncio.wait_for(body(client, client.device("default", "thermo-1")), 40)
    return asyncio.run(main())


def wish(lab, prop, value):
    names = ["temperature", "target", "on", "count", "note", "raw"]
    lab.kubectl("patch", "device", "thermo-1", "--type=json", "-p",
                json.dumps([{"op": "add", "path": f"/spec/properties/{names.index(prop)}/desired", "value": {"value": value}}]))


def test_report_is_durable_and_reaches_the_cloud(lab):
    async def body(client, thermo):
        await thermo.report(temperature=21.5, count=-7, on=True, note="größer 5%", raw=b"\x00\xff")
        return await thermo.get()
    twin = run(lab, body)
    assert {name: twin[name].actual for name in twin} == {"temperature": "21.5", "count": "-7", "on": "true", "note": "größer 5%", "raw": "AP8"}
    assert twin["temperature"].type == "float" and twin["temperature"].expected is None
    from lab import until
    until(10, "the values in DeviceStatus", lambda: lab.reported(prop="temperature") == "21.5" and lab.reported(prop="note") == "größer 5%")


def test_desired_of_the_time_before_and_after(lab):
    wish(lab, "target", "23")

    async def body(client, thermo):
        seen = []
        async for celsius in thermo.desired("target", float):
            seen.append(celsius)
            await thermo.report(target=celsius)
            if len(seen) == 2:
                return seen
            await asyncio.get_running_loop().run_in_executor(None, wish, lab, "target", "24.5")
    assert run(lab, body) == [23.0, 24.5]
    from lab import until
    until(10, "the reached target in DeviceStatus", lambda: lab.reported(prop="target") == "24.5")


def test_types_are_checked_here(lab):
    async def body(client, thermo):
        thermo.declare(temperature=float, count=int)
        await thermo.report(temperature=22)   # an int is a float, as in Python
        with pytest.raises(Error) as wrong:
            await thermo.report(count="many")
        assert wrong.value.status == "invalid argument" and "declared as int" in str(wrong.value)
        with pytest.raises(Error, match="finite"):
            await thermo.report(temperature=float("nan"))
        with pytest.raises(TypeError):
            thermo.declare(count=float)
        with pytest.raises(TypeError):
            await thermo.report(note=[1])
        with pytest.raises(OverflowError):
            await thermo.report(count=2**63)
        with pytest.raises(Error, match="4096"):
            await thermo.report(note="x" * 5000)
        with pytest.raises(Error, match="not found|404"):
            await client.device("default", "nobody").get()
        with pytest.raises(ValueError):
            await thermo.set_state("busy")
        await thermo.set_state("online")
        return (await thermo.get())["count"].actual
    assert run(lab, body) == "-7"


def test_a_burst_is_coalesced_and_every_waiter_is_told(lab):
    async def body(client, thermo):
        await asyncio.gather(*(thermo.report(count=number) for number in range(1000)))
        return (await thermo.get())["count"].actual
    assert run(lab, body) == "999"


def test_an_edge_that_is_killed_is_waited_for(lab):
    async def body(client, thermo):
        await thermo.report(count=1)
        lab.kill("edgecore")
        waiting = asyncio.ensure_future(thermo.report(count=2))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        lab.edge_up()
        await waiting
        return (await thermo.get())["count"].actual
    assert run(lab, body) == "2"


def test_the_end_of_the_block_cancels_who_waits():
    async def main():
        async with Client("tcp://127.0.0.1:1") as client:   # nobody is there
            waiting = asyncio.ensure_future(client.device("default", "x").report(a=1))
            await asyncio.sleep(0.1)
        with pytest.raises(Error) as cancelled:
            await waiting
        assert cancelled.value.status == "cancelled"
        with pytest.raises(Error, match="not running"):
            await client.device("default", "x").report(a=1)
    asyncio.run(main())


def test_bad_options_are_one_line():
    async def main():
        async with Client("http://127.0.0.1"):
            pass
    with pytest.raises(Error, match="tcp://host:1883"):
        asyncio.run(main())
