"""A cloud and an edge in two network namespaces, joined by a link that the test breaks as it likes."""
import os
import sys

from lab import Lab
from link import Link, ip

if os.geteuid() != 0:
    print("needs root: it makes network namespaces and starts a containerd of its own")
    sys.exit(77)
CLOUD, EDGE = "10.203.0.1", "10.203.0.2"
NO_DNS = "192.0.2.53"   # a name server that nobody answers for


class World(Lab):
    """The edge (with containerd and mosquitto) knows the cloud by its name, cloud.test; kubectl stands beside the cloud."""

    def __init__(self, seed: int):
        super().__init__()
        self.seed, self.link, self.cloud_ns, self.cloud_host = seed, None, f"kec{os.getpid()}", "cloud.test"
        self.hosts, self.resolv, self.edge_env = self.dir / "hosts", self.dir / "resolv.conf", {}
        ip("netns", "add", self.cloud_ns)
        ip("-n", self.cloud_ns, "link", "set", "lo", "up")

    def __exit__(self, *why):
        super().__exit__(*why)
        if self.link:
            self.link.close()
        ip("netns", "del", self.cloud_ns, check=False)

    def where(self, program):
        if program == "containerd":
            return []   # enters by itself
        at_edge = program in ("edgecore", "mosquitto", "mosquitto_sub", "mosquitto_pub")
        enter = ["nsenter", f"--net=/run/netns/{self.netns if at_edge else self.cloud_ns}", "--"]
        if program != "edgecore":
            return enter
        files = f'mount --bind {self.hosts} /etc/hosts && mount --bind {self.resolv} /etc/resolv.conf && exec "$@"'
        return [*enter, "unshare", "-m", "sh", "-c", files, "sh", "env", *(f"{key}={value}" for key, value in self.edge_env.items())]

    def name_cloud(self, address: str | None):
        self.hosts.write_text("127.0.0.1 localhost\n" + (f"{address} cloud.test\n" if address else ""))

    def network_up(self):
        self.containerd_up()
        self.link = Link((self.netns, EDGE + "/24"), (self.cloud_ns, CLOUD + "/24"), self.seed)
        ip("-n", self.netns, "route", "add", "default", "via", CLOUD)
        self.name_cloud(CLOUD)
        self.resolv.write_text(f"nameserver {NO_DNS}\n")

    def cloud_up(self, *extra):
        super().cloud_up("--advertise-address", "cloud.test", "127.0.0.1", *extra)

    def edge_up(self, node="edge1", pods=True, data="edge"):
        self.run("edgecore", *self.edge_command(node, pods=pods, data=data, mqtt=True))
