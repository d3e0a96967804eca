#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# layers_test.sh SOURCE DIRECTORIES COMPILER: for every pair of folders, a file of the first
# that includes a header of the second compiles if the table below has that arrow, and is
# refused by the compiler otherwise. DIRECTORIES has a line "<folder> <include directory>…"
# for each folder, as the build has it.
set -eu
source=$1
directories=$2
compiler=$3
failed=0
tried=0

# The folders of which a folder may include headers; all others are forbidden.
allowed() {
    case $1 in
    base) ;;
    repo | client) echo base ;;
    cache | hub | policy) echo base repo ;;
    claim) echo base repo cache ;;
    store) echo base repo cache claim ;;
    transfer) echo base repo cache claim store hub ;;
    maintenance) echo base repo cache claim store policy ;;
    resolver) echo base repo cache claim store hub transfer policy maintenance ;;
    server) echo base repo cache claim store hub transfer policy maintenance resolver ;;
    command) echo base client repo cache ;;
    *) return 1 ;;
    esac
}

fail() {
    echo "layers_test: $*" >&2
    failed=1
}

header_of() {
    for header in "$source/$1" "$source/lib/$1" "$source/client/$1"; do
        for file in "$header"/*.h; do
            [ -e "$file" ] && basename "$file" && return
        done
    done
}

# Prints what the compiler says of a file of folder $1 that includes a header of folder $2.
compile() {
    header="$2/$(header_of "$2")"
    flags=$(sed -n "s/^$1 //p" "$directories" | sed 's/[^ ][^ ]*/-I&/g')
    # shellcheck disable=SC2086 # one word for each directory
    printf '#include <%s>\n' "$header" |
        "$compiler" -std=gnu17 -D_GNU_SOURCE -fsyntax-only $flags -x c - 2>&1
}

try() {
    from=$1
    to=$2
    tried=$((tried + 1))
    case " $(allowed "$from" | tr '\n' ' ') " in
    *" $to "*)
        said=$(compile "$from" "$to") || fail "$from cannot include $to: $said"
        ;;
    *)
        if said=$(compile "$from" "$to"); then
            fail "$from can include a header of $to"
        elif ! echo "$said" | grep -q "^<stdin>:1:.*$to/.*\(No such file\|not found\)"; then
            fail "$from with $to failed for another reason: $said"
        fi
        ;;
    esac
}

folders=$(cut -d ' ' -f 1 "$directories")
for from in $folders; do
    allowed "$from" >/dev/null || fail "the folder '$from' has no row in the table"
    for to in $folders; do
        [ "$from" = "$to" ] || try "$from" "$to"
    done
done

# What the compiler cannot refuse: a path that climbs out of its folder.
if grep -rn 'include "\.\./' "$source/lib" "$source/server" "$source/client" --include='*.[ch]' >&2; then
    fail "an #include leaves its folder by '..'"
fi
[ "$tried" -gt 100 ] || fail "only $tried pairs were tried"
echo "layers_test: $tried pairs of folders"
exit "$failed"
