# A private laboratory for one machine: own containerd, own mosquitto, own network namespace. Sourced, not run.
# Nothing that is already on the machine is touched: every socket, state and root folder lies under $lab.
#
#   lab_start DIR        makes DIR, remembers it as $lab; lab_stop ends every process that was started here
#   lab_containerd       containerd on $lab/containerd.sock inside a network namespace of its own, with CNI and two images
#   lab_mosquitto PORT   mosquitto on 127.0.0.1:PORT
#   lab_run NAME CMD...  starts CMD in the background, log $lab/NAME.log, pid $lab/NAME.pid
#   lab_kill NAME [SIG]  ends it by its pid and waits
#   lab_wait SECONDS TEXT CMD...   tries CMD until it succeeds; says TEXT when it does not

lab_start() {
  lab=$1
  mkdir -p "$lab"
  lab_names=()
}

lab_run() {
  local name=$1; shift
  setsid "$@" >>"$lab/$name.log" 2>&1 </dev/null &
  echo $! >"$lab/$name.pid"
  disown  # its end is no news for the terminal
  lab_names+=("$name")
}

lab_alive() { [ -f "$lab/$1.pid" ] && kill -0 "$(cat "$lab/$1.pid")" 2>/dev/null; }

lab_kill() {
  local name=$1 signal=${2:-TERM} pid tries
  [ -f "$lab/$name.pid" ] || return 0
  pid=$(cat "$lab/$name.pid")
  rm -f "$lab/$name.pid"
  kill "-$signal" "$pid" 2>/dev/null || return 0
  for tries in $(seq 100); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
    [ "$tries" = 80 ] && kill -KILL "$pid" 2>/dev/null
  done
  return 0
}

lab_wait() {
  local seconds=$1 text=$2 deadline; shift 2
  deadline=$((SECONDS + seconds))
  until "$@" >/dev/null 2>&1; do
    if [ $SECONDS -ge $deadline ]; then echo "not within $seconds s: $text" >&2; return 1; fi
    sleep 0.2
  done
}

lab_ctr() { ctr -a "$lab/containerd.sock" -n k8s.io "$@"; }

lab_images() {  # two images around busybox: a pause and a small shell
  python3 - "$lab" <<'PY'
import hashlib, io, json, sys, tarfile

def image(name, command, path):
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for folder in ("bin", "tmp", "etc", "proc", "sys", "dev"):
            info = tarfile.TarInfo(folder); info.type = tarfile.DIRTYPE; info.mode = 0o755; tar.addfile(info)
        binary = open("/bin/busybox", "rb").read()
        info = tarfile.TarInfo("bin/busybox"); info.size = len(binary); info.mode = 0o755
        tar.addfile(info, io.BytesIO(binary))
        for applet in "sh sleep echo cat ls httpd wget date env ps true false id touch nc readlink test printf kill".split():
            info = tarfile.TarInfo("bin/" + applet); info.type = tarfile.SYMTYPE; info.linkname = "busybox"; tar.addfile(info)
    layer = layer.getvalue()
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": command, "Env": ["PATH=/bin"]},
                         "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}}).encode()
    digest = hashlib.sha256(config).hexdigest()
    manifest = json.dumps([{"Config": digest + ".json", "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(path, "w") as out:
        for member, data in ((digest + ".json", config), ("layer.tar", layer), ("manifest.json", manifest)):
            info = tarfile.TarInfo(member); info.size = len(data); out.addfile(info, io.BytesIO(data))

image("local/pause:1", ["sleep", "2147483647"], sys.argv[1] + "/pause.tar")
image("docker.io/library/busybox:1", ["sleep", "2147483647"], sys.argv[1] + "/busybox.tar")
PY
  lab_ctr images import "$lab/pause.tar" && lab_ctr images import "$lab/busybox.tar"
}

lab_containerd() {
  lab_netns=ke-$$
  ip netns add "$lab_netns" && ip -n "$lab_netns" link set lo up || return 1
  mkdir -p "$lab/cni"
  cat >"$lab/cni/10-edge.conflist" <<JSON
{"cniVersion": "0.4.0", "name": "edge", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false,
   "ipam": {"type": "host-local", "dataDir": "$lab/ipam", "ranges": [[{"subnet": "10.88.0.0/16"}]]}}]}
JSON
  # oom_score 0 and restrict_oom_score_adj: it must also start where CAP_SYS_RESOURCE is missing (containers, CI).
  cat >"$lab/containerd.toml" <<TOML
version = 2
root = "$lab/containerd-root"
state = "$lab/containerd-state"
oom_score = 0
[grpc]
  address = "$lab/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = "local/pause:1"
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$lab/cni"
TOML
  lab_containerd_up && lab_images >>"$lab/containerd.log" 2>&1
}

lab_containerd_up() {  # also used to bring it back after it was killed
  lab_run containerd nsenter --net="/run/netns/$lab_netns" -- containerd -c "$lab/containerd.toml"
  lab_wait 30 "containerd answers (log $lab/containerd.log)" lab_ctr version
}

lab_mosquitto() {
  printf 'listener %s 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\npersistence true\npersistence_location %s/\n' "$1" "$lab" >"$lab/mosquitto.conf"
  chmod 777 "$lab"  # mosquitto gives root up and writes its database here
  lab_mqtt_port=$1
  lab_mosquitto_up
}

lab_mosquitto_up() {
  lab_run mosquitto mosquitto -c "$lab/mosquitto.conf"
  lab_wait 10 "mosquitto answers on port $lab_mqtt_port (log $lab/mosquitto.log)" mosquitto_pub -p "$lab_mqtt_port" -t lab/probe -n
}

lab_free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

lab_stop() {
  local name task index
  for ((index = ${#lab_names[@]} - 1; index >= 0; index--)); do
    name=${lab_names[$index]}
    if [ "$name" = containerd ] && lab_alive containerd; then  # the containers go before their keeper
      for task in $(lab_ctr tasks ls -q 2>/dev/null); do lab_ctr tasks kill -s KILL "$task" >/dev/null 2>&1; done
      sleep 0.5
      for task in $(lab_ctr containers ls -q 2>/dev/null); do lab_ctr tasks delete -f "$task" >/dev/null 2>&1; lab_ctr containers delete "$task" >/dev/null 2>&1; done
    fi
    lab_kill "$name"
  done
  # Shims that lost their container end by themselves; those that did not are ours by their socket folder.
  for task in $(pgrep -f "containerd-shim.*$lab/containerd.sock"); do kill -KILL "$task" 2>/dev/null; done
  awk -v lab="$lab/" 'index($2, lab) == 1 {print $2}' /proc/mounts | sort -r | while read -r task; do umount -l "$task" 2>/dev/null; done
  [ -z "${lab_netns:-}" ] || ip netns del "$lab_netns" 2>/dev/null
  rm -rf "$lab"
}
