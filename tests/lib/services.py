"""What stands beside the daemons in tests of rules and buses: HTTP servers, certificates, Rules."""
import http.server
import ssl
import subprocess
import threading
import time

KIND = {"apiVersion": "rules.kubeedge.io/v1"}


class Server:
    """The node's, or a rule's, HTTP server: remembers what came; "/sleep", "/huge", "/404", "/500" do as they say, the rest echoes.

    `refuses`: path -> status that it answers instead, until it is taken out; what it refused is not in `seen`.
    """

    def __init__(self, certificate=None, port=0):
        seen = self.seen = []
        refuses = self.refuses = {}

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True   # its answers are two packets: without this each takes 40 ms

            def any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                path = self.path.split("?")[0]
                if path in refuses:
                    self.send_response(refuses[path])
                    self.send_header("Content-Length", "0")
                    return self.end_headers()
                seen.append((self.command, self.path, dict(self.headers), body))
                if path.endswith("/sleep"):
                    time.sleep(8)
                status = int(path[-3:]) if path[-3:] in ("404", "500") else 200
                out = b"x" * 6_000_000 if path.endswith("/huge") else f"{self.command} {self.path} ".encode() + body
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(out)))
                    self.send_header("X-Of-Server", "yes")
                    self.end_headers()
                    self.wfile.write(out)
                except OSError:
                    pass   # the caller gave up

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = any

            def log_message(self, *_):
                pass

        class Quiet(http.server.ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *_):   # a caller that refuses our certificate
                pass

        self.server = Quiet(("127.0.0.1", port), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def certificates(folder):
    """In `folder`: a CA, certificates of it for 127.0.0.1 and for another name, and one that nobody signed. {name: (certificate, key)}."""
    folder.mkdir()
    run = lambda *a: subprocess.run(["openssl", *map(str, a)], check=True, capture_output=True, cwd=folder)  # noqa: E731
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    run("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=services")
    run("req", "-x509", *new, "-keyout", "self.key", "-out", "self.crt", "-subj", "/CN=self", "-addext", "subjectAltName=IP:127.0.0.1")
    for name, san in (("good", "IP:127.0.0.1"), ("other", "DNS:other.example")):
        run("req", *new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (folder / f"{name}.ext").write_text(f"subjectAltName={san}\n")
        run("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.crt")
    return {name: (folder / f"{name}.crt", folder / f"{name}.key") for name in ("good", "other", "self")}


def endpoint(name, kind, **properties):
    return {**KIND, "kind": "RuleEndpoint", "metadata": {"name": name}, "spec": {"ruleEndpointType": kind, "properties": properties}}


def rule(name, source, source_resource, target, target_resource):
    return {**KIND, "kind": "Rule", "metadata": {"name": name},
            "spec": {"source": source, "sourceResource": source_resource, "target": target, "targetResource": target_resource}}
