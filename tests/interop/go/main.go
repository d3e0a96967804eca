// SPDX-License-Identifier: Apache-2.0

// load ADDRESS REQUEST...: calls ResolveFile over and over, in several goroutines over one
// connection, with the requests (protobuf messages in hex) in turn, until standard input ends.
// It retries UNAVAILABLE, and CANCELLED without details. Prints "CALLS FAILED" and the first
// failure.
package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

const (
	method  = "/hubcache.v1.Resolver/ResolveFile"
	callers = 4
	timeout = 15 * time.Second
)

// raw is the codec of messages that are bytes already.
type raw struct{}

func (raw) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v any) error { *v.(*[]byte) = data; return nil }
func (raw) Name() string                       { return "proto" }

func isWorthARetry(err error) bool {
	s := status.Convert(err)
	return s.Code() == codes.Unavailable ||
		(s.Code() == codes.Canceled && len(s.Details()) == 0)
}

func call(conn *grpc.ClientConn, request []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	pause := 50 * time.Millisecond
	for {
		var answer []byte
		err := conn.Invoke(ctx, method, &request, &answer, grpc.ForceCodec(raw{}))
		if err == nil || !isWorthARetry(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause/2 + time.Duration(rand.Int63n(int64(pause)))):
		}
		if pause < time.Second {
			pause *= 2
		}
	}
}

func main() {
	var requests [][]byte
	for _, text := range os.Args[2:] {
		request, err := hex.DecodeString(text)
		if err != nil {
			panic(err)
		}
		requests = append(requests, request)
	}
	conn, err := grpc.NewClient(os.Args[1],
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		panic(err)
	}
	var calls, failed atomic.Int64
	var over atomic.Bool
	var first atomic.Value
	var group sync.WaitGroup
	for i := 0; i < callers; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for !over.Load() {
				request := requests[calls.Add(1)%int64(len(requests))]
				if err := call(conn, request); err != nil {
					failed.Add(1)
					first.CompareAndSwap(nil, err.Error())
				}
			}
		}()
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	over.Store(true)
	group.Wait()
	fmt.Println(calls.Load(), failed.Load(), first.Load())
}
