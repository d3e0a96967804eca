// SPDX-License-Identifier: Apache-2.0

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import hubcache.v1.GetServerInfoRequest;
import hubcache.v1.ReadFileRequest;
import hubcache.v1.ResolveFileRequest;
import hubcache.v1.ResolveSnapshotRequest;
import hubcache.v1.ResolverGrpc;
import hubcache.v1.ResolverGrpc.ResolverBlockingStub;
import hubcache.v1.WatchSnapshotRequest;
import io.grpc.Context;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/**
 * Asks hubcache for files of the Hugging Face Hub.
 *
 * <pre>
 * Ask file REPO FILENAME SECONDS    prints the path of a file on the own mount
 * Ask watch REPO MAX_BYTES SECONDS  fetches a snapshot, unless it is larger; prints its path
 * Ask read REPO FILENAME SECONDS    writes the bytes of a file, for hosts without the volume
 * </pre>
 *
 * Calls fail after SECONDS. HUBCACHE_SERVER is the server, HUBCACHE_MOUNT the own mount.
 */
public final class Ask {
  private static final Map<String, ?> RETRIES =
      Map.of(
          "methodConfig",
          List.of(
              Map.of(
                  "name", List.of(Map.of("service", "hubcache.v1.Resolver")),
                  "retryPolicy",
                      Map.of(
                          "maxAttempts",
                          4.0,
                          "initialBackoff",
                          "0.2s",
                          "maxBackoff",
                          "5s",
                          "backoffMultiplier",
                          2.0,
                          "retryableStatusCodes",
                          List.of("UNAVAILABLE")))));

  private static String getenv(String name, String fallback) {
    return System.getenv().getOrDefault(name, fallback);
  }

  /** The own mount of the server's volume. */
  private static Path findMount(ResolverBlockingStub stub) throws IOException {
    var info = stub.getServerInfo(GetServerInfoRequest.getDefaultInstance());
    var mount = Path.of(getenv("HUBCACHE_MOUNT", info.getCacheRoot()));
    var id = Files.readString(mount.resolve(".hubcache/cache-id")).strip();
    if (!id.equals(info.getCacheId())) {
      throw new IOException(mount + " is another volume than the server's");
    }
    return mount;
  }

  private static ResolveFileRequest fileRequest(String repo, String filename) {
    return ResolveFileRequest.newBuilder().setRepoId(repo).setFilename(filename).build();
  }

  private static void file(ResolverBlockingStub stub, String repo, String filename)
      throws IOException {
    var mount = findMount(stub);
    var answer = stub.resolveFile(fileRequest(repo, filename));
    System.out.println(mount.resolve(answer.getFile().getCachePath()));
  }

  private static void watch(ResolverBlockingStub stub, String repo, long maxBytes)
      throws IOException {
    var mount = findMount(stub);
    var snapshot = ResolveSnapshotRequest.newBuilder().setRepoId(repo);
    var request = WatchSnapshotRequest.newBuilder().setSnapshot(snapshot).build();
    var context = Context.current().withCancellation();
    context.run(
        () ->
            stub.watchSnapshot(request)
                .forEachRemaining(
                    event -> {
                      if (event.hasResult()) {
                        System.out.println(mount.resolve(event.getResult().getCachePath()));
                        return;
                      }
                      var progress = event.getProgress();
                      System.err.printf(
                          "%d of %d bytes%n", progress.getBytesDone(), progress.getBytesTotal());
                      if (progress.getBytesTotal() > maxBytes) {
                        context.cancel(null); // the next event is the failure CANCELLED
                      }
                    }));
  }

  private static void read(ResolverBlockingStub stub, String repo, String filename)
      throws IOException {
    var request = ReadFileRequest.newBuilder().setFile(fileRequest(repo, filename)).build();
    var responses = stub.readFile(request);
    while (responses.hasNext()) {
      responses.next().getData().writeTo(System.out);
    }
  }

  /** Prints what is known of a failed call. */
  private static void explain(StatusRuntimeException failure)
      throws InvalidProtocolBufferException {
    var status = failure.getStatus();
    System.err.printf("status %d: %s%n", status.getCode().value(), status.getDescription());
    var details = StatusProto.fromThrowable(failure); // null: gRPC itself failed the call
    for (Any detail : details == null ? List.<Any>of() : details.getDetailsList()) {
      if (detail.is(ErrorInfo.class)) {
        var info = detail.unpack(ErrorInfo.class);
        System.err.println("reason " + info.getReason());
        info.getMetadataMap().forEach((name, value) -> System.err.println(name + ": " + value));
      } else if (detail.is(RetryInfo.class)) {
        var delay = detail.unpack(RetryInfo.class).getRetryDelay();
        System.err.printf(
            "retry after %d ms%n", delay.getSeconds() * 1000 + delay.getNanos() / 1_000_000);
      }
    }
  }

  private static void run(ManagedChannel channel, String[] arguments) throws IOException {
    var seconds = Double.parseDouble(arguments[3]);
    var stub =
        ResolverGrpc.newBlockingStub(channel)
            .withDeadlineAfter((long) (seconds * 1000), TimeUnit.MILLISECONDS);
    switch (arguments[0]) {
      case "file" -> file(stub, arguments[1], arguments[2]);
      case "watch" -> watch(stub, arguments[1], Long.parseLong(arguments[2]));
      case "read" -> read(stub, arguments[1], arguments[2]);
      default -> throw new IOException("there is no command " + arguments[0]);
    }
  }

  public static void main(String[] arguments) throws IOException {
    if (arguments.length != 4) {
      System.err.println("usage: Ask file|watch|read REPO FILENAME|MAX_BYTES SECONDS");
      System.exit(2);
    }
    var server = getenv("HUBCACHE_SERVER", "127.0.0.1:50051");
    var channel =
        Grpc.newChannelBuilder(server, InsecureChannelCredentials.create())
            .defaultServiceConfig(RETRIES)
            .keepAliveTime(30, TimeUnit.SECONDS)
            .keepAliveTimeout(10, TimeUnit.SECONDS)
            .maxInboundMessageSize(64 << 20)
            .build();
    var status = 0;
    try {
      run(channel, arguments);
    } catch (StatusRuntimeException failure) {
      explain(failure);
      status = 1;
    } catch (IOException failure) {
      System.err.println(failure.getMessage());
      status = 1;
    }
    channel.shutdownNow();
    System.exit(status);
  }
}
