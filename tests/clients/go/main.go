// SPDX-License-Identifier: Apache-2.0

// Command ask asks hubcache for files of the Hugging Face Hub.
//
//	ask file REPO FILENAME SECONDS    prints the path of a file on the own mount
//	ask watch REPO MAX_BYTES SECONDS  fetches a snapshot, unless it is larger; prints its path
//	ask read REPO FILENAME SECONDS    writes the bytes of a file, for hosts without the volume
//
// Calls fail after SECONDS. HUBCACHE_SERVER is the server, HUBCACHE_MOUNT the own mount.
package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	pb "ask/hubcache/v1"
)

const retries = `{"methodConfig": [{
	"name": [{"service": "hubcache.v1.Resolver"}],
	"retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.2s", "maxBackoff": "5s",
		"backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]}`

// transport is TLS with the authority in the file HUBCACHE_TLS_CA, if there is one.
func transport() (credentials.TransportCredentials, error) {
	authority := os.Getenv("HUBCACHE_TLS_CA")
	if authority == "" {
		return insecure.NewCredentials(), nil
	}
	return credentials.NewClientTLSFromFile(authority, "")
}

// findMount returns the own mount of the server's volume.
func findMount(ctx context.Context, client pb.ResolverClient) (string, error) {
	info, err := client.GetServerInfo(ctx, &pb.GetServerInfoRequest{})
	if err != nil {
		return "", err
	}
	mount := cmp.Or(os.Getenv("HUBCACHE_MOUNT"), info.CacheRoot)
	id, err := os.ReadFile(filepath.Join(mount, ".hubcache", "cache-id"))
	if err == nil && strings.TrimSpace(string(id)) != info.CacheId {
		err = fmt.Errorf("%s is another volume than the server's", mount)
	}
	return mount, err
}

func file(ctx context.Context, client pb.ResolverClient, repo, filename string) error {
	mount, err := findMount(ctx, client)
	if err != nil {
		return err
	}
	answer, err := client.ResolveFile(ctx, &pb.ResolveFileRequest{RepoId: repo, Filename: filename})
	if err != nil {
		return err
	}
	fmt.Println(filepath.Join(mount, answer.File.CachePath))
	return nil
}

func watch(ctx context.Context, client pb.ResolverClient, repo, limit string) error {
	maxBytes, err := strconv.ParseUint(limit, 10, 64)
	if err != nil {
		return err
	}
	mount, err := findMount(ctx, client)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := client.WatchSnapshot(ctx, &pb.WatchSnapshotRequest{
		Snapshot: &pb.ResolveSnapshotRequest{RepoId: repo}})
	if err != nil {
		return err
	}
	for {
		event, err := stream.Recv()
		if err != nil {
			return err
		}
		if result := event.GetResult(); result != nil {
			fmt.Println(filepath.Join(mount, result.CachePath))
			return nil
		}
		progress := event.GetProgress()
		fmt.Fprintf(os.Stderr, "%d of %d bytes\n", progress.BytesDone, progress.BytesTotal)
		if progress.BytesTotal > maxBytes {
			cancel() // the next event is the failure CANCELLED
		}
	}
}

func read(ctx context.Context, client pb.ResolverClient, repo, filename string) error {
	stream, err := client.ReadFile(ctx, &pb.ReadFileRequest{
		File: &pb.ResolveFileRequest{RepoId: repo, Filename: filename}})
	if err != nil {
		return err
	}
	for {
		response, err := stream.Recv()
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if _, err := os.Stdout.Write(response.Data); err != nil {
			return err
		}
	}
}

// explain prints what is known of a failed call.
func explain(err error) {
	failure, ok := status.FromError(err)
	if !ok {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	fmt.Fprintf(os.Stderr, "status %d: %s\n", failure.Code(), failure.Message())
	for _, detail := range failure.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			fmt.Fprintf(os.Stderr, "reason %s\n", detail.Reason)
			for name, value := range detail.Metadata {
				fmt.Fprintf(os.Stderr, "%s: %s\n", name, value)
			}
		case *errdetails.RetryInfo:
			delay := detail.RetryDelay.AsDuration()
			fmt.Fprintf(os.Stderr, "retry after %d ms\n", delay.Milliseconds())
		}
	}
}

func run(command, repo, argument, seconds string) error {
	timeout, err := time.ParseDuration(seconds + "s")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	security, err := transport()
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient(cmp.Or(os.Getenv("HUBCACHE_SERVER"), "127.0.0.1:50051"),
		grpc.WithTransportCredentials(security),
		grpc.WithDefaultServiceConfig(retries),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: 30 * time.Second, Timeout: 10 * time.Second}))
	if err != nil {
		return err
	}
	defer conn.Close()
	client := pb.NewResolverClient(conn)
	switch command {
	case "file":
		return file(ctx, client, repo, argument)
	case "watch":
		return watch(ctx, client, repo, argument)
	case "read":
		return read(ctx, client, repo, argument)
	}
	return fmt.Errorf("there is no command %s", command)
}

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: ask file|watch|read REPO FILENAME|MAX_BYTES SECONDS")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		explain(err)
		os.Exit(1)
	}
}
