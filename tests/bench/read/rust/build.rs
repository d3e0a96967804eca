// SPDX-License-Identifier: Apache-2.0

fn main() -> std::io::Result<()> {
    tonic_prost_build::configure()
        .build_client(false)
        .generate_default_stubs(true)
        .bytes(".hubcache.v1.ReadFileResponse.data")
        .compile_protos(&["proto/hubcache/v1/resolver.proto"], &["proto"])
}
