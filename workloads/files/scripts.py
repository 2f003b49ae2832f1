"""The scripts that run in containers: POSIX sh with stat, readlink, dd and the like of busybox,
toybox or GNU.

No path is ever part of a script: paths are arguments, or lines on standard input. Each script but
PROBE begins with WALK, so that what was checked on our side is what the script acts on.
"""

from workloads.files.failures import (
    EXISTS_CODE,
    INCOMPLETE_CODE,
    IS_A_DIRECTORY_CODE,
    LINK_CODE,
    NOT_A_DIRECTORY_CODE,
    NOT_REGULAR_CODE,
)

# Ends each record of a listing. Two slashes stand in no name, and no name begins after "./" with
# one.
RECORD_END = b"//\n"
MAX_ENTRIES = 10_000
# One entry more than is shown says that there are more.
_MOST = MAX_ENTRIES + 1
STAT = "stat %f %s %u %g %Y"
# $0 is unused; arguments: names of programs. Prints those that there are.
PROBE = """
for t do
if command -v "$t" >/dev/null 2>&1; then printf 'tool %s\\n' "$t"; fi
done
if stat -c %f / >/dev/null 2>&1; then printf 'tool stat-c\\n'; fi
if dd bs=1 count=0 iflag=fullblock </dev/null >/dev/null 2>&1; then printf 'tool fullblock\\n'; fi
exit 0
"""
# Arguments: the target, then every path that must be no link. Prints the first that is one.
WALK = f"""
LC_ALL=C
export LC_ALL
t=$1
shift
for p do
if [ -L "$p" ]; then printf 'link %s\\n' "$p"; readlink "$p"; exit {LINK_CODE}; fi
done
"""
# A path without a file: stat says why (missing, or a directory that may not be entered).
_MISSING = """
if [ -e "$t" ] || [ -L "$t" ]; then :; else stat -c %f "$t" >/dev/null; exit 1; fi
"""
INSPECT = WALK + _MISSING + f"stat -c '{STAT}' \"$t\"\n"
# $0: the format of a record. Links have a record of their own besides, with what they point at.
LIST = (
    WALK
    + _MISSING
    + f"""
if [ ! -d "$t" ]; then exit {NOT_A_DIRECTORY_CODE}; fi
cd "$t" || exit 1
if [ ! -r . ]; then printf 'Permission denied\\n' >&2; exit 1; fi
n=0
set --
for f in ./* ./.[!.]* ./..?*; do
if [ $n -lt {_MOST} ]; then
l=0
if [ -L "$f" ]; then
l=1
k=f
if [ -d "$f" ]; then k=d; fi
printf 'L %s %s//' $k "$f"
readlink "$f"
printf '//\\n'
fi
if [ $l = 1 ] || [ -e "$f" ]; then set -- "$@" "$f"; n=$((n+1)); fi
if [ $# -ge 100 ]; then stat -c "$0" "$@"; set --; fi
fi
done
if [ $# -gt 0 ]; then stat -c "$0" "$@"; fi
exit 0
"""
)
RECORD = "S %f %s %u %g %Y %n//"
_REGULAR = f"""
if [ -d "$t" ]; then exit {IS_A_DIRECTORY_CODE}; fi
if [ ! -f "$t" ]; then exit {NOT_REGULAR_CODE}; fi
"""
_OPENED = (
    _REGULAR
    + f"""
if [ ! -r "$t" ]; then printf 'Permission denied\\n' >&2; exit 1; fi
stat -c '{STAT}' "$t" || exit 1
"""
)
# $0: the number of the first byte, from 1.
READ = (
    WALK + _MISSING + _OPENED + 'if [ "$0" = 1 ]; then exec cat "$t"; fi\nexec tail -c "+$0" "$t"\n'
)
# $0: how many of the last bytes.
TAIL = WALK + _MISSING + _OPENED + 'exec tail -c "$0" "$t"\n'
DIGEST = WALK + _MISSING + _REGULAR + 'exec sha256sum "$t"\n'
# The directory of the target is where the archive begins; further arguments: --exclude=…
PACK = (
    """
LC_ALL=C
export LC_ALL
t=$1
b=$2
n=$3
shift 3
while [ $n -gt 0 ]; do
"""
    + f"""
if [ -L "$1" ]; then printf 'link %s\\n' "$1"; readlink "$1"; exit {LINK_CODE}; fi
shift
n=$((n-1))
done
if [ ! -d "$t" ]; then exit {NOT_A_DIRECTORY_CODE}; fi
cd "$t" || exit 1
printf 'archive\\n'
exec tar -c -f - "$@" "./$b"
"""
)
# $0: p to make parents too.
MAKE_DIRECTORY = (
    WALK
    + f"""
if [ -d "$t" ]; then if [ "$0" = p ]; then exit 0; fi; exit {EXISTS_CODE}; fi
if [ "$0" = p ]; then mkdir -p "$t"; else mkdir "$t"; fi
"""
)
# $0: r for a directory with all that is in it. Prints how many entries there were.
REMOVE = (
    WALK
    + _MISSING
    + """
if [ -d "$t" ] && [ ! -L "$t" ]; then
if [ "$0" = r ]; then
c=1
if command -v find >/dev/null 2>&1; then c=$(find "$t" 2>/dev/null | wc -l); fi
rm -rf "$t" || exit 1
else
c=1
rmdir "$t" || exit 1
fi
else
c=1
rm -f "$t" || exit 1
fi
printf 'removed %s\\n' $c
"""
)
# $0: o to replace a file; the first argument is the target, the last the source.
MOVE = (
    """
s=$1
shift
"""
    + WALK
    + f"""
if [ -e "$s" ] || [ -L "$s" ]; then :; else stat -c %f "$s" >/dev/null; exit 1; fi
if [ -e "$t" ] || [ -L "$t" ]; then if [ "$0" != o ]; then exit {EXISTS_CODE}; fi; fi
if [ -d "$t" ]; then exit {IS_A_DIRECTORY_CODE}; fi
mv -f "$s" "$t"
"""
)
# Reads pairs of lines, a word and its value, and follows them until `end`. A file is written under
# the name of `temp`, in blocks that `data` announces (as lines of base64 where dd cannot wait for
# whole blocks), and gets its own name with `into`, or waits for it with `stage`. Without an end
# (the connection broke) temporary files go, those that wait too, unless `keep` came.
RECEIVE = f"""
LC_ALL=C
export LC_ALL
u=
trap 'if [ -n "$u" ]; then rm -f "$u"; fi; if [ $# -gt 0 ]; then rm -f "$@"; fi' EXIT
while IFS= read -r k && IFS= read -r p; do
if [ "$k" = data ]; then
dd bs="$p" count=1 iflag=fullblock >>"$u" || exit 1
elif [ "$k" = text ]; then
printf '%s' "$p" | base64 -d >>"$u" || exit 1
elif [ "$k" = check ]; then
if [ -L "$p" ]; then printf 'link %s\\n' "$p"; readlink "$p"; exit {LINK_CODE}; fi
elif [ "$k" = dir ]; then
if [ ! -d "$p" ]; then mkdir "$p" || exit 1; fi
elif [ "$k" = absent ]; then
if [ -e "$p" ] || [ -L "$p" ]; then printf 'exists %s\\n' "$p"; exit {EXISTS_CODE}; fi
elif [ "$k" = temp ]; then
u=$p
true >"$u" || exit 1
elif [ "$k" = size ]; then
s=$(stat -c %s "$u")
if [ "$s" != "$p" ]; then exit {INCOMPLETE_CODE}; fi
elif [ "$k" = owner ]; then
chown "$p" "$u" 2>/dev/null
elif [ "$k" = mode ]; then
chmod "$p" "$u" || exit 1
elif [ "$k" = into ]; then
if [ -d "$p" ]; then exit {IS_A_DIRECTORY_CODE}; fi
mv -f "$u" "$p" || exit 1
u=
printf 'done %s\\n' "$p"
elif [ "$k" = stage ]; then
set -- "$@" "$u"
u=
elif [ "$k" = keep ]; then
set --
elif [ "$k" = target ]; then
g=$p
elif [ "$k" = symlink ]; then
u=$p
ln -s -- "$g" "$u" || exit 1
elif [ "$k" = hardlink ]; then
u=$p
ln -- "$g" "$u" || exit 1
elif [ "$k" = end ]; then
exit 0
fi
done
exit {INCOMPLETE_CODE}
"""
# Arguments: temporary files of a transfer that broke.
CLEAN_UP = 'rm -f "$@"\n'
