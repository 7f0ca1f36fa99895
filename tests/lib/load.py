"""Load whose acknowledgements are counted outside the daemons."""
import json
import subprocess
import threading
import time

from lab import until
from mqtt import Ear

UPDATE = "$hw/events/device/default/thermo-1/twin/update"


class TwinLoad:
    """Counts up in `temperature`; knows what was sent."""

    def __init__(self, lab):
        self.sent = 0
        self.stopping = False
        self.publisher = subprocess.Popen(["mosquitto_pub", "-p", str(lab.mqtt), "-q", "1", "-l", "-t", UPDATE], stdin=subprocess.PIPE, text=True)
        self.ear = Ear(lab, UPDATE + "/result")
        self.thread = threading.Thread(target=self.send, daemon=True)
        self.thread.start()

    def send(self):
        while not self.stopping:
            self.sent += 1
            value = str(self.sent)
            try:
                self.publisher.stdin.write(json.dumps({"event_id": value, "twin": {"temperature": {"actual": {"value": value}}}}) + "\n")
                self.publisher.stdin.flush()
            except BrokenPipeError:
                return      # the broker went, mosquitto_pub with it
            time.sleep(0.004)

    @property
    def acknowledged(self) -> int:
        """The highest value whose result came."""
        results = (json.loads(payload) for _, payload in list(self.ear.heard))
        return max((int(result["event_id"]) for result in results if "code" not in result and result.get("event_id", "").isdigit()), default=0)

    def stop(self):
        self.stopping = True
        self.thread.join()
        try:
            self.publisher.stdin.close()
        except BrokenPipeError:
            pass
        self.publisher.wait()
        time.sleep(1)
        self.ear.__exit__()


class WriteLoad:
    """Creates ConfigMaps one after the other; knows which were acknowledged."""

    def __init__(self, lab):
        self.lab, self.acknowledged, self.tried, self.busy, self.stopping = lab, [], 0, False, False
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self):
        while not self.stopping:
            self.tried += 1
            name = f"ledger-{self.tried}"
            self.busy = True
            if self.lab.kubectl("create", "configmap", name, f"--from-literal=n={self.tried}", check=False).returncode == 0:
                self.acknowledged.append(name)
            self.busy = False

    def stop(self):
        self.stopping = True
        self.thread.join()


def stored_value(lab) -> int:
    twin = until(20, "the twin answers", lambda: (lab.twin() or {}).get("twin"))
    return int(twin["temperature"]["actual"]["value"])
