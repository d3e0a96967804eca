// SPDX-License-Identifier: Apache-2.0

// Command read-server streams one file with hubcache's ReadFile, as grpc-go does it.
//
//	read-server FILE ETAG COMMIT CHUNK
//
// It listens on a free port, prints "listening ADDRESS", and sends messages of CHUNK bytes.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "read-server/hubcache/v1"
)

const writeBuffer = 1 << 20 // of a connection; grpc-go has 32 KiB unless told

type resolver struct {
	pb.UnimplementedResolverServer
	path  string
	chunk int
	file  *pb.ResolvedFile
}

// ReadFile sends the bytes from the offset on. Send has packed the message when it returns, so
// one buffer serves them all.
func (r *resolver) ReadFile(request *pb.ReadFileRequest,
	stream grpc.ServerStreamingServer[pb.ReadFileResponse]) error {
	if request.Offset > r.file.SizeBytes {
		return status.Error(codes.InvalidArgument, "the offset is beyond the end")
	}
	file, err := os.Open(r.path)
	if err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	defer file.Close()
	left := r.file.SizeBytes - request.Offset
	if request.Length > 0 {
		left = min(left, request.Length)
	}
	section := io.NewSectionReader(file, int64(request.Offset), int64(left))
	buffer := make([]byte, r.chunk)
	response := &pb.ReadFileResponse{File: r.file, Offset: request.Offset}
	for {
		n, err := io.ReadFull(section, buffer)
		if n > 0 || response.File != nil {
			response.Data = buffer[:n]
			if err := stream.Send(response); err != nil {
				return err
			}
			response.File = nil
			response.Offset += uint64(n)
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil
		}
		if err != nil {
			return status.Error(codes.Internal, err.Error())
		}
	}
}

func run(path, etag, commit, chunk string) error {
	size, err := strconv.Atoi(chunk)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.WriteBufferSize(writeBuffer), grpc.MaxSendMsgSize(2*size+1<<20))
	pb.RegisterResolverServer(server, &resolver{path: path, chunk: size, file: &pb.ResolvedFile{
		Path: path, CachePath: filepath.Base(path), Filename: filepath.Base(path),
		CommitHash: commit, Etag: etag, SizeBytes: uint64(info.Size()),
		Source: pb.Source_SOURCE_CACHE}})
	fmt.Println("listening", listener.Addr())
	return server.Serve(listener)
}

func main() {
	if len(os.Args) != 5 {
		log.Fatal("usage: read-server FILE ETAG COMMIT CHUNK")
	}
	log.Fatal(run(os.Args[1], os.Args[2], os.Args[3], os.Args[4]))
}
