#!/bin/sh
# Installs Debian packages, as root or through sudo; says what to do where neither works.
# Use: .ci/apt.sh PACKAGE...
set -eu
if ! command -v apt-get >/dev/null; then
    echo "no apt-get here. Next: install these with your own package manager: $*" >&2
    exit 1
fi
as_root=""
if [ "$(id -u)" != 0 ]; then
    if ! sudo -n true 2>/dev/null; then
        echo "root is needed to install: $*. Next: sudo apt-get install $*" >&2
        exit 1
    fi
    as_root="sudo -n"
fi
$as_root apt-get update -qq
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends "$@" >/dev/null
