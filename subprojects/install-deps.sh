#!/bin/sh
# Installs every Debian package that building and testing needs; does nothing where all are there.
set -eu
packages="g++ meson ninja-build pkg-config ccache libasio-dev libwebsocketpp-dev protobuf-compiler libprotobuf-dev
  libsqlite3-dev sqlite3 libpaho-mqtt-dev libfmt-dev doctest-dev libssl-dev openssl libnghttp2-dev libhttp-parser-dev
  nlohmann-json3-dev libyaml-cpp-dev libcli11-dev zlib1g-dev python3 python3-cffi python3-prometheus-client python3-pytest curl
  mosquitto mosquitto-clients containerd runc containernetworking-plugins busybox-static libfaketime iptables nftables iproute2 procps"
# Debian's kubectl clashes with one that is already there.
command -v kubectl >/dev/null 2>&1 || packages="$packages kubernetes-client"
[ "${1:-}" != --full ] || packages="$packages clang-14 clang-tidy-14 clang-format-14 libclang-rt-14-dev etcd-server"
missing=""
for package in $packages; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
# The services are started by the tests themselves, each a private one: none may start by being installed.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then printf '#!/bin/sh\nexit 101\n' > "$policy"; chmod +x "$policy"; trap 'rm -f "$policy"' EXIT; fi
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing >/dev/null
