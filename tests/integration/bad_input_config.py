#!/usr/bin/env python3
"""cloudcore.yaml and edgecore.yaml with mistakes: each is answered with file, line and key, and an exit code that is not 0.

A key that nobody knows is a warning (FILE:LINE: unknown key), with --strict-config an error. Flags that make no sense, a data
folder that is none and taken ports end the daemon with one line, too.
"""
import pathlib
import socket
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from lab import BUILD, Lab, free_port  # noqa: E402

CLOUD = BUILD / "daemons/cloudcore/cloudcore"
EDGE = BUILD / "daemons/edgecore/edgecore"


def ended(program, *arguments, seconds=20):
    """(exit code, the daemon's own lines). It must end by itself."""
    done = subprocess.run([str(program), *map(str, arguments)], capture_output=True, text=True, timeout=seconds)
    return done.returncode, [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(program.name + ": ")]


class Config:
    def __init__(self, lab):
        self.dir, self.checked = lab.dir, 0
        # Where a file is good the daemon still ends: the data folder is a file, or the token is none.
        self.blocked = lab.dir / "a-file"
        self.blocked.write_text("x")

    def run(self, program, text, *flags):
        path = self.dir / f"{program.name}.yaml"
        if isinstance(text, bytes):
            path.write_bytes(text)
        else:
            path.write_text(text)
        more = ("--standalone",) if program is CLOUD else ("--no-mqtt", "--no-pods")
        code, lines = ended(program, "--config", path, "--data-dir", self.blocked / "none", *more, *flags)
        self.checked += 1
        return path, code, lines

    def refused(self, program, text, line, *words, flags=()):
        """The one line begins with FILE:LINE: and has the words."""
        path, code, lines = self.run(program, text, *flags)
        assert code == 1, f"exit {code}, {lines}: {text!r}"
        errors = [row for row in lines if " warning: " not in row]
        assert len(errors) == 1 and errors[0].startswith(f"{program.name}: {path}:{line}: "), f"{text!r}: {lines}"
        for word in words:
            assert word in errors[0], f"{word!r} is not in {errors[0]!r}"
        return errors[0]

    def warned(self, program, text, line, *words):
        path, code, lines = self.run(program, text)
        warnings = [row for row in lines if row.startswith(f"{program.name}: warning: {path}:{line}: ")]
        assert warnings and all(word in warnings[0] for word in words), f"{text!r}: {lines}"
        # The same file under --strict-config: the same line, as the error.
        self.refused(program, text, line, *words, flags=("--strict-config",))


def broken_yaml(config):
    for program in (CLOUD, EDGE):
        config.refused(program, "modules:\n  - a: [1,\n", 3)
        config.refused(program, "modules:\n\tedgeHub: 1\n", 2)
        config.refused(program, "a: b: c\n", 1)
        config.refused(program, "- a\n- list\n", 1, "expected a map")
        config.refused(program, "only words\n", 1, "expected a map")
        config.refused(program, "kind: x\nkind: y\n", 2, "kind", "twice")
        config.refused(program, "modules: &a\n  b: *nowhere\n", 2)
        config.refused(program, "a: " + "[" * 5000, 1, "nested too deeply")
        config.refused(program, b"\xff\xfe\x00\x01\x02 not text\n", 1)
        config.refused(program, "modules:\n  cloudHub: 7\n  edgeHub: 7\n", 2 if program is CLOUD else 3, "Hub", "expected a map")


def wrong_types(config):
    hub = "modules:\n  cloudHub:\n    "
    config.refused(CLOUD, hub + "nodeLimit: many\n", 3, "modules.cloudHub.nodeLimit", "a number", "many")
    config.refused(CLOUD, hub + "nodeLimit: -1\n", 3, "modules.cloudHub.nodeLimit", "-1")
    config.refused(CLOUD, hub + "nodeLimit: 99999999999\n", 3, "modules.cloudHub.nodeLimit", "99999999999")
    config.refused(CLOUD, hub + "keepaliveInterval: 0\n", 3, "modules.cloudHub.keepaliveInterval")
    config.refused(CLOUD, hub + "keepaliveInterval: 1.5\n", 3, "modules.cloudHub.keepaliveInterval")
    config.refused(CLOUD, hub + "edgeCertSigningDuration: 0\n", 3, "modules.cloudHub.edgeCertSigningDuration")
    config.refused(CLOUD, hub + "websocket: {port: 70000}\n", 3, "modules.cloudHub.websocket.port", "70000")
    config.refused(CLOUD, hub + "https:\n      port: -2\n", 4, "modules.cloudHub.https.port")
    config.refused(CLOUD, hub + "advertiseAddress: 192.0.2.1\n", 3, "modules.cloudHub.advertiseAddress", "list")
    config.refused(CLOUD, hub + "advertiseAddress: [{a: b}]\n", 3, "modules.cloudHub.advertiseAddress", "list")
    config.refused(CLOUD, hub + "enable: perhaps\n", 3, "modules.cloudHub.enable", "true or false")
    config.refused(CLOUD, "kubeAPIConfig:\n  kubeConfig: [a]\n", 2, "kubeAPIConfig.kubeConfig", "text", "a list")

    hub = "modules:\n  edgeHub:\n    "
    config.refused(EDGE, hub + "heartbeat: soon\n", 3, "modules.edgeHub.heartbeat", "a number", "soon")
    config.refused(EDGE, hub + "heartbeat: 0\n", 3, "modules.edgeHub.heartbeat")
    config.refused(EDGE, hub + "heartbeat: -5\n", 3, "modules.edgeHub.heartbeat", "-5")
    config.refused(EDGE, hub + "heartbeat: 4294967297\n", 3, "modules.edgeHub.heartbeat")
    config.refused(EDGE, hub + "messageQPS: -1\n", 3, "modules.edgeHub.messageQPS")
    config.refused(EDGE, hub + "websocket: {server: {a: b}}\n", 3, "modules.edgeHub.websocket.server", "text", "a map")
    config.refused(EDGE, hub + "websocket: [x]\n", 3, "modules.edgeHub.websocket", "expected a map")
    secret = config.refused(EDGE, hub + "token: [sEcReT]\n", 3, "modules.edgeHub.token", "text")
    assert "sEcReT" not in secret, secret
    edged = "modules:\n  edged:\n    tailoredKubeletConfig:\n      "
    config.refused(EDGE, edged + "nodeStatusUpdateFrequency: 10\n", 4, "nodeStatusUpdateFrequency", "duration")
    config.refused(EDGE, edged + "nodeStatusUpdateFrequency: 0s\n", 4, "nodeStatusUpdateFrequency")
    config.refused(EDGE, edged + "maxPods: 1e3\n", 4, "maxPods", "number")
    config.refused(EDGE, edged + "nodeLeaseDurationSeconds: 0\n", 4, "nodeLeaseDurationSeconds")
    config.refused(EDGE, "modules:\n  eventBus:\n    enable: 2\n", 3, "modules.eventBus.enable", "true or false")
    config.refused(EDGE, "modules:\n  edged:\n    nodeLabels: [a]\n", 3, "modules.edged.nodeLabels")
    code, lines = config.run(EDGE, "modules:\n  edgeHub:\n    quic:\n      enable: true\n")[1:]
    assert code == 1 and "modules.edgeHub.quic" in lines[-1] and "websocket" in lines[-1], lines   # C21


def unknown_keys(config):
    config.warned(CLOUD, "kind: CloudCore\nmodules:\n  cloudHub:\n    nodelimit: 3\n", 4, "modules.cloudHub.nodelimit", "did you mean nodeLimit?")
    config.warned(CLOUD, "modules:\n  cloudhub: {}\n", 2, "modules.cloudhub", "cloudHub")
    config.warned(EDGE, "modules:\n  edgeHub:\n    heartbeats: 3\n", 3, "modules.edgeHub.heartbeats", "did you mean heartbeat?")
    config.warned(EDGE, "qwertzuiop: 1\n", 1, "qwertzuiop")
    # A warning is no more than that: the daemon goes on to the next thing, which is the data folder here.
    for program in (CLOUD, EDGE):
        _, code, lines = config.run(program, "qwertzuiop: 1\n")
        assert code == 1 and str(config.blocked) in lines[-1], lines


def files_and_flags(config, lab):
    for program in (CLOUD, EDGE):
        more = ("--standalone",) if program is CLOUD else ("--no-mqtt", "--no-pods")
        for path in (lab.dir / "absent.yaml", lab.dir):
            code, lines = ended(program, "--config", path, "--data-dir", config.blocked / "none", *more)
            assert code == 1 and len(lines) == 1 and str(path) in lines[0] and "cannot be read" in lines[0], (path, code, lines)
        # An empty file has nothing to say; what `--minconfig` and `--defaultconfig` print is known to the last key.
        for text in ("", *(subprocess.run([program, flag], capture_output=True, text=True).stdout for flag in ("--minconfig", "--defaultconfig"))):
            _, code, lines = config.run(program, text, "--strict-config")
            assert code == 1 and len(lines) == 1 and str(config.blocked) in lines[0], (text, lines)
        done = subprocess.run([program, "--no-such-flag"], capture_output=True, text=True)
        assert done.returncode not in (0, -6, -11) and "--no-such-flag" in done.stdout + done.stderr, done
    code, lines = ended(EDGE, "--cloud", "127.0.0.1", "--token-file", lab.dir / "absent", "--data-dir", lab.dir / "e", "--no-pods", "--no-mqtt")
    assert code == 1 and str(lab.dir / "absent") in lines[-1], lines
    for name in ("Edge_Box 01", "-edge", "x" * 300):   # C20
        code, lines = ended(EDGE, "--cloud", "127.0.0.1", "--node-name", name, "--token", "t", "--data-dir", lab.dir / "e", "--no-pods", "--no-mqtt")
        assert code == 1 and len(lines) == 1 and "name" in lines[0], (name, lines)


def ports_in_use(lab):
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("0.0.0.0", 0)) as wide:
        for flag, port in (("--hub-port", wide), ("--join-port", wide), ("--api-port", taken)):
            number = port.getsockname()[1]
            ports = {"--api-port": free_port(), "--hub-port": free_port(), "--join-port": free_port(), "--stream-port": free_port(), flag: number}
            code, lines = ended(CLOUD, "--standalone", "--data-dir", lab.dir / "ports", *(str(part) for pair in ports.items() for part in pair))
            assert code == 1 and len(lines) == 1 and str(number) in lines[0] and "in use" in lines[0], (flag, code, lines)
            print("refused:", lines[0])


with Lab() as lab:
    config = Config(lab)
    broken_yaml(config)
    wrong_types(config)
    unknown_keys(config)
    files_and_flags(config, lab)
    ports_in_use(lab)
    print(f"{config.checked} configuration files answered")
