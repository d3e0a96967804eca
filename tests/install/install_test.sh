#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Promise: both libraries can be installed anywhere and used from there, by find_package and
# by pkg-config, in C and in C++, and export their interface and nothing else. The example
# in a header's comment is a program that compiles as it stands, in both.
# install_test.sh CMAKE BUILD_DIR WORK_DIR LIBDIR COMPILER STATIC_COMMAND
set -eu
cmake=$1 build=$2 work=$3 libdir=$4 compiler=$5 static=$6
here=$(dirname "$0")/consumer
prefix=$work/prefix

rm -rf "$work"
mkdir -p "$work"
"$cmake" --install "$build" --prefix "$prefix" >"$work/install.log"

build_consumer() { # CMAKE DIRECTORY
    echo "find_package, $("$1" --version | head -n 1)"
    "$1" -S "$here" -B "$2" "-DCMAKE_PREFIX_PATH=$prefix" \
        "-DCMAKE_C_COMPILER=$compiler" >"$2.configure.log"
    "$1" --build "$2" >"$2.build.log"
}

build_consumer "$cmake" "$work/consumer"
for program in client_c client_cpp resolver_c resolver_cpp; do
    "$work/consumer/$program" || { echo "$program failed"; exit 1; }
done
if oldest=$("$(dirname "$0")/../interop/venv" cmake 2>"$work/venv.log"); then
    build_consumer "${oldest%/*}/cmake" "$work/oldest"
else
    echo "SKIPPED: CMake 3.16 cannot be installed, see $work/venv.log"
fi

echo "pkg-config"
PKG_CONFIG_PATH=$prefix/$libdir/pkgconfig
export PKG_CONFIG_PATH
# shellcheck disable=SC2046 # one word for each flag
"$compiler" -std=c99 "$here/client.c" -o "$work/client" \
    $(pkg-config --cflags --libs hubcache-client) "-Wl,-rpath,$prefix/$libdir"
"$work/client"
# shellcheck disable=SC2046
"$compiler" -std=c99 "$here/resolver.c" -o "$work/resolver" \
    $(pkg-config --cflags --libs hubcache) "-Wl,-rpath,$prefix/$libdir"
"$work/resolver"

echo "examples in the headers"
for header in hubcache-client/client.h hubcache/resolver.h; do
    package=${header%/*}
    # Five spaces indent it; it begins with an #include and ends with the indentation.
    awk '/^ \*     #include/ { on = 1 } on && !/^ \*(     |$)/ { exit } on { print substr($0, 8) }' \
        "$prefix/include/$header" >"$work/example-$package.c"
    # shellcheck disable=SC2046
    "$compiler" -std=c99 -Wall -Wextra -Wpedantic -Werror "$work/example-$package.c" \
        -o "$work/example-$package" $(pkg-config --cflags --libs "$package")
    # shellcheck disable=SC2046
    "$compiler" -x c++ -std=c++20 -Wall -Wextra -Wpedantic -Werror \
        -Wno-missing-field-initializers -fsyntax-only "$work/example-$package.c" \
        $(pkg-config --cflags "$package")
done

echo "exported names"
for library in hubcache-client hubcache; do
    nm -D --defined-only "$prefix/$libdir/lib$library.so" | awk '$2 != "A" { print $3 }' |
        sed 's/@.*//' | sort >"$work/$library.exported"
done
declared() { # HEADER...: the names of its functions, also where the type has a line of its own
    sed ':join; /HC_PUBLIC[^(]*$/ { N; s/\n */ /; b join }' "$@" |
        sed -n 's/.*HC_PUBLIC.*[ *]\(hc_[a-z_]*\)(.*/\1/p' | sort
}
declared "$prefix"/include/hubcache-client/*.h "$prefix/include/hubcache/error.h" \
    "$prefix/include/hubcache/repo.h" >"$work/hubcache-client.declared"
declared "$prefix"/include/hubcache/*.h >"$work/hubcache.declared"
for library in hubcache-client hubcache; do
    diff "$work/$library.declared" "$work/$library.exported"
done

echo "the command"
"$prefix/bin/hubcache" --version
needed=$(readelf --dynamic --wide "$prefix/bin/hubcache" | grep -c NEEDED)
if [ "$static" = ON ] && [ "$needed" -gt 3 ]; then
    echo "the command loads $needed shared libraries; libm, libc and its loader are enough"
    exit 1
fi
