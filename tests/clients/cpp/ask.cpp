// SPDX-License-Identifier: Apache-2.0
/*
 * Asks hubcache for files of the Hugging Face Hub.
 *
 *   ask file REPO FILENAME SECONDS    prints the path of a file on the own mount
 *   ask watch REPO MAX_BYTES SECONDS  fetches a snapshot, unless it is larger; prints its path
 *   ask read REPO FILENAME SECONDS    writes the bytes of a file, for hosts without the volume
 *
 * Calls fail after SECONDS. HUBCACHE_SERVER is the server, HUBCACHE_MOUNT the own mount.
 */
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "hubcache/v1/resolver.grpc.pb.h"

#include <google/protobuf/util/time_util.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>

using namespace hubcache::v1;

static const char RETRIES[] = R"({"methodConfig": [{
    "name": [{"service": "hubcache.v1.Resolver"}],
    "retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.2s", "maxBackoff": "5s",
        "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]})";

static void check(const grpc::Status &status)
{
    if (!status.ok())
        throw status;
}

// One call, with its deadline.
struct Call : grpc::ClientContext {
    explicit Call(double seconds)
    {
        set_deadline(std::chrono::system_clock::now() +
                     std::chrono::milliseconds(static_cast<long>(seconds * 1000)));
    }
};

static std::string environment(const char *name, const std::string &fallback)
{
    const char *value = std::getenv(name);
    return value ? value : fallback;
}

// The own mount of the server's volume.
static std::string find_mount(Resolver::Stub &stub, double seconds)
{
    Call call(seconds);
    GetServerInfoResponse info;
    check(stub.GetServerInfo(&call, {}, &info));
    std::string mount = environment("HUBCACHE_MOUNT", info.cache_root()), id;
    std::ifstream(mount + "/.hubcache/cache-id") >> id;
    if (id != info.cache_id())
        throw std::runtime_error(mount + " is another volume than the server's");
    return mount;
}

static void file(Resolver::Stub &stub, const std::string &repo,
                 const std::string &filename, double seconds)
{
    std::string mount = find_mount(stub, seconds);
    Call call(seconds);
    ResolveFileRequest request;
    ResolveFileResponse answer;
    request.set_repo_id(repo);
    request.set_filename(filename);
    check(stub.ResolveFile(&call, request, &answer));
    std::cout << mount << '/' << answer.file().cache_path() << '\n';
}

static void watch(Resolver::Stub &stub, const std::string &repo,
                  const std::string &max_bytes, double seconds)
{
    std::string mount = find_mount(stub, seconds);
    Call call(seconds);
    WatchSnapshotRequest request;
    WatchSnapshotResponse event;
    request.mutable_snapshot()->set_repo_id(repo);
    auto events = stub.WatchSnapshot(&call, request);
    while (events->Read(&event)) {
        if (event.has_result()) {
            std::cout << mount << '/' << event.result().cache_path() << '\n';
            continue;
        }
        const SnapshotProgress &progress = event.progress();
        std::cerr << progress.bytes_done() << " of " << progress.bytes_total()
                  << " bytes\n";
        if (progress.bytes_total() > std::stoull(max_bytes))
            call.TryCancel(); // Finish() then returns CANCELLED
    }
    check(events->Finish());
}

static void read(Resolver::Stub &stub, const std::string &repo,
                 const std::string &filename, double seconds)
{
    Call call(seconds);
    ReadFileRequest request;
    ReadFileResponse response;
    request.mutable_file()->set_repo_id(repo);
    request.mutable_file()->set_filename(filename);
    auto responses = stub.ReadFile(&call, request);
    while (responses->Read(&response))
        std::cout << response.data();
    check(responses->Finish());
}

// Prints what is known of a failed call.
static void explain(const grpc::Status &failure)
{
    google::rpc::Status status;
    google::rpc::ErrorInfo info;
    google::rpc::RetryInfo retry;

    std::cerr << "status " << failure.error_code() << ": " << failure.error_message()
              << '\n';
    status.ParseFromString(failure.error_details());
    for (const auto &detail : status.details()) {
        if (detail.UnpackTo(&info)) {
            std::cerr << "reason " << info.reason() << '\n';
            for (const auto &[name, value] : info.metadata())
                std::cerr << name << ": " << value << '\n';
        } else if (detail.UnpackTo(&retry)) {
            using google::protobuf::util::TimeUtil;
            std::cerr << "retry after "
                      << TimeUtil::DurationToMilliseconds(retry.retry_delay()) << " ms\n";
        }
    }
}

static void run(const std::string &command, const std::string &repo,
                const std::string &argument, double seconds)
{
    grpc::ChannelArguments options;
    options.SetServiceConfigJSON(RETRIES);
    options.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
    options.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
    options.SetMaxReceiveMessageSize(64 << 20);
    auto channel =
        grpc::CreateCustomChannel(environment("HUBCACHE_SERVER", "127.0.0.1:50051"),
                                  grpc::InsecureChannelCredentials(), options);
    auto stub = Resolver::NewStub(channel);

    if (command == "file")
        file(*stub, repo, argument, seconds);
    else if (command == "watch")
        watch(*stub, repo, argument, seconds);
    else if (command == "read")
        read(*stub, repo, argument, seconds);
    else
        throw std::runtime_error("there is no command " + command);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        std::cerr << "usage: ask file|watch|read REPO FILENAME|MAX_BYTES SECONDS\n";
        return 2;
    }
    try {
        run(argv[1], argv[2], argv[3], std::stod(argv[4]));
        return EXIT_SUCCESS;
    } catch (const grpc::Status &failure) {
        explain(failure);
    } catch (const std::exception &failure) {
        std::cerr << failure.what() << '\n';
    }
    return EXIT_FAILURE;
}
