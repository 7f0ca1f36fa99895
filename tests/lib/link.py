"""An IP link between two network namespaces that loses, delays, slows and cuts as it is told.

Every packet goes through this process (two TUN devices, one thread), so that it needs no kernel module: netem is missing in many
machines that run CI."""
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import threading
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
QUEUE_BYTES = 64 * 1024   # of a slow direction, as a modem's; past it packets are dropped
MTU = 1500


def ip(*words, check=True):
    return subprocess.run(["ip", *map(str, words)], check=check, capture_output=True, text=True)


class Direction:
    """What happens to packets of one direction. delay: seconds; rate: bytes a second, 0 = unlimited; loss: 0 to 1."""

    def __init__(self):
        self.cut, self.loss, self.delay, self.rate = False, 0.0, 0.0, 0.0
        self.free_at = 0.0   # when a slow direction has sent what it was given

    def departure(self, size: int, now: float, dice: random.Random) -> float | None:
        """When a packet of `size` bytes leaves; None: it is lost."""
        if self.cut or dice.random() < self.loss:
            return None
        if not self.rate:
            return now + self.delay
        if (self.free_at - now) * self.rate > QUEUE_BYTES:
            return None
        self.free_at = max(now, self.free_at) + size / self.rate
        return self.free_at + self.delay


class Link:
    """left and right are (namespace, address with prefix). up: left to right, down: right to left."""

    def __init__(self, left: tuple[str, str], right: tuple[str, str], seed: int):
        self.up, self.down, self.passed = Direction(), Direction(), 0
        self.devices = [self._device(f"ke{os.getpid()}{side}", *end) for side, end in (("l", left), ("r", right))]
        self._dice, self._ended = random.Random(seed), threading.Event()
        self._thread = threading.Thread(target=self._forward, daemon=True)
        self._thread.start()

    @staticmethod
    def _device(name: str, netns: str, address: str) -> int:
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
        ip("link", "set", name, "netns", netns)
        ip("-n", netns, "link", "set", name, "name", "ke0", "mtu", MTU)
        ip("-n", netns, "addr", "add", address, "dev", "ke0")
        ip("-n", netns, "link", "set", "ke0", "up")
        return device

    def set(self, **faults):
        """The same faults in both directions; what is not named is healed."""
        for direction in (self.up, self.down):
            direction.__init__()
            vars(direction).update(faults)

    def close(self):
        self._ended.set()
        self._thread.join()
        for device in self.devices:
            os.close(device)

    def _forward(self):
        left, right = self.devices
        ways = {left: (self.up, right), right: (self.down, left)}
        under_way, number = [], 0
        while not self._ended.is_set():
            wait = max(0.0, under_way[0][0] - time.monotonic()) if under_way else 0.1
            for device in select.select(self.devices, [], [], min(wait, 0.1))[0]:
                direction, to = ways[device]
                try:
                    packet = os.read(device, 65536)
                except OSError:
                    return   # the namespace is gone
                leaves = direction.departure(len(packet), time.monotonic(), self._dice)
                if leaves is not None:
                    heapq.heappush(under_way, (leaves, number := number + 1, to, packet))
            while under_way and under_way[0][0] <= time.monotonic():
                _, _, to, packet = heapq.heappop(under_way)
                self.passed += len(packet)
                try:
                    os.write(to, packet)
                except OSError:
                    pass   # the other end is down: lost, as on a wire
