#!/bin/sh
# Chromium for the tests of the console, out of the system's packages where there is none and we may. Never fails: the tests say loudly what they skip.
for name in chromium chromium-browser google-chrome google-chrome-stable; do
    command -v "$name" >/dev/null 2>&1 && exit 0
done
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    exit 0
fi
echo "kubegale: installing chromium for the tests of the console (once)" >&2
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } >"$log" 2>&1 </dev/null || tail -n 5 "$log" >&2
rm -f "$log"
exit 0
