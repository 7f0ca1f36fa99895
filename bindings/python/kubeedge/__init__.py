"""Device apps for KubeEdge on asyncio: typed properties, reported and desired values, over the MQTT broker beside the edge.

    async with Client("tcp://127.0.0.1:1883") as client:
        thermo = client.device("default", "thermo-1")
        async for celsius in thermo.desired("target", float):
            heater.set(celsius)
            await thermo.report(target=celsius)

Types are int, float, bool, str and bytes. The work is done by libkubeedge-c (KUBEEDGE_LIBRARY names another file of it) on a
thread of its own; everything here runs on the asyncio loop.
"""
import asyncio
import dataclasses

from ._native import ffi, lib, text

__all__ = ["Client", "Device", "Error", "TwinProperty", "STATES"]

STATES = ("ok", "online", "offline", "unhealthy", "unknown")
_TYPES = {int: lib.KE_INT, float: lib.KE_DOUBLE, bool: lib.KE_BOOL, str: lib.KE_STRING, bytes: lib.KE_BYTES}


class Error(Exception):
    """`status` says what kind ("invalid argument", "not found", "unavailable", "cancelled" ...), the text which thing and where."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = text(lib.ke_status_name(status))


@dataclasses.dataclass(frozen=True)
class TwinProperty:
    """One property as the edge has it, as text; None where that side has no value."""
    expected: str | None
    actual: str | None
    type: str


def _check(status: int):
    if status != lib.KE_OK:
        raise Error(status, text(lib.ke_last_error()))


def _settle(future, status, message, value=None):
    if future.done():   # its waiter was cancelled
        return
    if status == lib.KE_OK:
        future.set_result(value)
    else:
        future.set_exception(Error(status, text(message)))


# One C function a kind of callback; `user` is the handle of the Python function that is meant.
@ffi.callback("ke_done")
def _on_done(user, status, message):
    ffi.from_handle(user)(status, message)


@ffi.callback("ke_value_fn")
def _on_value(user, value):
    ffi.from_handle(user)(_from_c(value))


@ffi.callback("ke_twin_fn")
def _on_twin(user, status, message, properties, count):
    twin = {text(p.name): TwinProperty(text(p.expected) if p.expected else None, text(p.actual) if p.actual else None, text(p.type))
            for p in (properties[i] for i in range(count))}
    ffi.from_handle(user)(status, message, twin)


@ffi.callback("ke_event_fn")
def _on_event(user):
    ffi.from_handle(user)()


def _from_c(value):
    if value.type == lib.KE_INT:
        return value.integer
    if value.type == lib.KE_DOUBLE:
        return value.number
    if value.type == lib.KE_BOOL:
        return bool(value.truth)
    data = bytes(ffi.buffer(value.data, value.size)) if value.size else b""
    return data.decode() if value.type == lib.KE_STRING else data


def _to_c(out, value, keep: list):
    """Fills a ke_value; `keep` holds what it points at."""
    kind = type(value)
    if kind not in _TYPES:
        raise TypeError(f"a value is an int, float, bool, str or bytes, not {kind.__name__}")
    out.type = _TYPES[kind]
    if kind is bool:
        out.truth = value
    elif kind is int:
        if not -2**63 <= value < 2**63:
            raise OverflowError(f"{value} does not fit 64 bits")
        out.integer = value
    elif kind is float:
        out.number = value
    else:
        data = value.encode() if kind is str else value
        keep.append(ffi.from_buffer(data))
        out.data, out.size = ffi.cast("const char *", keep[-1]), len(data)


class Client:
    """Connects when its block is entered, in the background: a broker or edge that is away is waited for. Leaving the block
    waits up to 2 s for what is not yet acknowledged; who still waits then gets an Error "cancelled"."""

    def __init__(self, broker="tcp://127.0.0.1:1883", *, client_id=None, username=None, password=None, ca_file=None, certificate_file=None,
                 private_key_file=None):
        self._options = {"broker": broker, "client_id": client_id, "username": username, "password": password, "ca_file": ca_file,
                         "certificate_file": certificate_file, "private_key_file": private_key_file}
        self._handles = set()
        self._types, self._properties = {}, {}
        self._loop = self._client = None

    async def __aenter__(self):
        out = ffi.new("ke_loop **")
        _check(lib.ke_loop_new(lib.KE_LOG_WARNING, out))
        self._loop = out[0]
        try:
            self._client = self._new_client()
            _check(lib.ke_client_start(self._client))
        except BaseException:
            self._free()
            raise
        asyncio.get_running_loop().add_reader(lib.ke_loop_fd(self._loop), lib.ke_loop_drain, self._loop)
        return self

    async def __aexit__(self, *_):
        stopped = asyncio.get_running_loop().create_future()
        lib.ke_client_stop(self._client, _on_event, self._handle(lambda: stopped.done() or stopped.set_result(None), once=True))
        try:
            await stopped
        finally:
            asyncio.get_running_loop().remove_reader(lib.ke_loop_fd(self._loop))
            self._free()

    def device(self, ns: str, name: str) -> "Device":
        return Device(self, ns, name)

    def _new_client(self):
        keep = {name: ffi.new("char[]", value.encode()) for name, value in self._options.items() if value is not None}
        options = ffi.new("ke_client_options *", {"size": ffi.sizeof("ke_client_options"), **keep})
        out = ffi.new("ke_client **")
        _check(lib.ke_client_new(self._loop, options, out))
        return out[0]

    def _free(self):
        if self._client:
            lib.ke_client_free(self._client)
        lib.ke_loop_free(self._loop)
        self._loop = self._client = None
        self._handles.clear()

    def _alive(self):
        if not self._client:
            raise Error(lib.KE_CANCELLED, "the client is not running: use it inside `async with`")
        return self._client

    def _handle(self, call, once=False):
        """A handle for `call`, kept until it was called (once) or the client ends."""
        def run(*arguments):
            if once:
                self._handles.discard(handle)
            call(*arguments)
        handle = ffi.new_handle(run)
        self._handles.add(handle)
        return handle

    def _waiter(self):
        future = asyncio.get_running_loop().create_future()
        return future, self._handle(lambda *answer: _settle(future, *answer), once=True)

    def _property(self, ns, device, name, kind):
        key = (ns, device, name)
        if self._types.setdefault(key, kind) is not kind:
            raise TypeError(f"{ns}/{device} {name} is declared as {self._types[key].__name__}, not as {kind.__name__}")
        if key not in self._properties:
            out = ffi.new("ke_property **")
            _check(lib.ke_client_property(self._alive(), ns.encode(), device.encode(), name.encode(), _TYPES[kind], out))
            self._properties[key] = out[0]
        return self._properties[key]


class Device:
    """One device as the cloud names it."""

    def __init__(self, client: Client, ns: str, name: str):
        self._client, self.ns, self.name = client, ns, name

    def declare(self, **types):
        """thermo.declare(temperature=float): values of these properties are checked. An undeclared one has its first value's type."""
        for name, kind in types.items():
            if kind not in _TYPES:
                raise TypeError(f"{name}: a type is int, float, bool, str or bytes")
            self._client._property(self.ns, self.name, name, kind)

    async def report(self, values=None, /, **more):
        """Returns once all values are durable at the edge, or newer ones of the same properties. Until then the newest are kept
        and sent again, over restarts of broker and edge, also when nobody waits any more."""
        batch = {**(values or {}), **more}
        client = self._client._alive()
        keep, items = [], ffi.new("ke_named_value[]", max(1, len(batch)))
        for item, (name, value) in zip(items, batch.items()):
            if self._client._types.get((self.ns, self.name, name)) is float and type(value) is int:
                value = float(value)   # as Python itself would
            keep.append(ffi.new("char[]", name.encode()))
            item.name = keep[-1]
            _to_c(item.value, value, keep)
        for name, value in batch.items():
            self._client._types.setdefault((self.ns, self.name, name), type(value))
        future, handle = self._client._waiter()
        lib.ke_client_report(client, self.ns.encode(), self.name.encode(), items, len(batch), _on_done, handle)
        await future

    async def desired(self, name: str, kind: type):
        """Yields each value that is wished for, of the time before too; where several came meanwhile, the newest."""
        newest, news = [], asyncio.Event()

        def told(value):
            newest[:] = [value]
            news.set()

        lib.ke_property_on_desired(self._client._property(self.ns, self.name, name, kind), _on_value, self._client._handle(told))
        while True:
            await news.wait()
            news.clear()
            yield newest.pop()

    async def get(self) -> dict:
        """The twin as the edge has it now: {name: TwinProperty}."""
        future, handle = self._client._waiter()
        lib.ke_client_get(self._client._alive(), self.ns.encode(), self.name.encode(), _on_twin, handle)
        return await future

    async def set_state(self, state: str):
        if state not in STATES:
            raise ValueError(f"a state is one of {', '.join(STATES)}, not {state}")
        future, handle = self._client._waiter()
        lib.ke_client_set_state(self._client._alive(), self.ns.encode(), self.name.encode(), STATES.index(state), _on_done, handle)
        await future
