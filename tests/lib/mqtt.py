"""An ear on an MQTT broker: what is published from the moment it exists."""
import json
import queue
import subprocess
import threading

from lab import until


class Ear:
    """mosquitto_sub on `topics`; exists when the broker has confirmed the subscription. `heard` = [(topic, payload)] in order."""

    def __init__(self, lab, *topics):
        self.lab, self.heard, self.ready = lab, [], queue.Queue()
        # Lines of our own form tell messages from what -d says.
        self.process = subprocess.Popen(["stdbuf", "-oL", "mosquitto_sub", "-d", "-p", str(lab.mqtt), "-q", "1", "-F", "ear %x %t", *(part for topic in topics for part in ("-t", topic))],
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()
        self.ready.get(timeout=10)

    def listen(self):
        for line in self.process.stdout:
            if line.startswith("Subscribed ("):
                self.ready.put(True)
            elif line.startswith("ear "):
                _, payload, topic = line.rstrip("\n").split(" ", 2)
                self.heard.append((topic, bytes.fromhex(payload)))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.thread.join()

    def wait(self, seconds: float, what: str, wanted):
        """The first message, of now or later, for which wanted(topic, payload) is true."""
        return until(seconds, what, lambda: next(((topic, payload) for topic, payload in self.heard if wanted(topic, payload)), None))

    def publish(self, topic: str, payload: bytes):
        done = subprocess.run(["mosquitto_pub", "-p", str(self.lab.mqtt), "-q", "1", "-t", topic, "-s" if payload else "-n"], input=payload, capture_output=True)
        assert done.returncode == 0, done.stderr

    def answers(self, topic: str, payload: bytes, *results: str):
        """The JSON published on each of the `results` topics after `payload` went to `topic`."""
        start = len(self.heard)
        self.publish(topic, payload)
        return [json.loads(until(10, f"an answer on {result} to {payload[:60]!r} on {topic}", lambda result=result: [text for where, text in self.heard[start:] if where == result])[0])
                for result in results]
