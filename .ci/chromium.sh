#!/usr/bin/env bash
# Have a Chromium for the test that clicks through the review App; does nothing where one is there.
set -euo pipefail

for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null && exit 0
done

fail() {
    printf 'chromium.sh: %s\nNext: install chromium with your system'"'"'s package manager, then make test again\n' "$1" >&2
    exit 1
}

command -v apt-get >/dev/null || fail "no chromium here, and no apt-get to install it with"
root=()
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null && sudo -n true 2>/dev/null ||
        fail "no chromium here, and installing it takes root (sudo asks for a password or is missing)"
    root=(sudo -n)
fi
"${root[@]}" apt-get -qq update || true
"${root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -qq install -y --no-install-recommends chromium fonts-dejavu-core >/dev/null ||
    fail "apt-get could not install chromium"
