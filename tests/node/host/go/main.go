// A go-libp2p peer for the interoperability tests: says who and where it is, then does what each line of its input says.
// It may be a relay, or punch holes, as its arguments say.
package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/libp2p/go-libp2p/p2p/transport/websocket"
)

const (
	echoProtocol = "/peerwatch/test/echo/1"
	patience     = 20 * time.Second
	maxAnswer    = 4 << 20
)

type answer = map[string]any

func main() {
	node, err := start()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer node.Close()
	node.SetStreamHandler(echoProtocol, func(stream network.Stream) {
		defer stream.Close()
		io.Copy(stream, stream)
	})
	addresses := []string{}
	for _, address := range node.Addrs() {
		addresses = append(addresses, fmt.Sprintf("%s/p2p/%s", address, node.ID()))
	}
	say(answer{"addresses": addresses})
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		found, err := do(node, strings.Fields(lines.Text()))
		if err != nil {
			found = answer{"error": err.Error()}
		}
		say(found)
	}
}

// start makes a host of TCP and WebSocket, Noise and Yamux that can be reached through relays, and be more if the arguments say so.
func start() (host.Host, error) {
	seed := flag.String("seed", "", "of its key, in hex")
	listen := flag.String("listen", "/ip4/127.0.0.1/tcp/0", "where it listens")
	relays := flag.Bool("relay", false, "whether it is a relay for everybody")
	punch := flag.String("punch", "", "the address that it tells for hole punching; own: where it listens")
	flag.Parse()
	options := []libp2p.Option{
		libp2p.ListenAddrStrings(*listen),
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Transport(websocket.New),
		libp2p.Security(noise.ID, noise.New),
		libp2p.Muxer(yamux.ID, yamux.DefaultTransport),
		libp2p.EnableRelay(),
	}
	if *seed != "" {
		raw, err := hex.DecodeString(*seed)
		if err != nil || len(raw) != ed25519.SeedSize {
			return nil, errors.New("the seed is not 32 bytes in hex")
		}
		key, err := crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(raw))
		if err != nil {
			return nil, err
		}
		options = append(options, libp2p.Identity(key))
	}
	node, err := libp2p.New(options...)
	if err == nil && *relays {
		err = beRelay(node)
	}
	if err == nil && *punch != "" {
		err = punches(node, *punch)
	}
	return node, err
}

func say(what answer) {
	line, _ := json.Marshal(what)
	fmt.Println(string(line))
}

func do(node host.Host, words []string) (answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ctx = network.WithAllowLimitedConn(ctx, "a relayed connection does")
	switch {
	case len(words) == 1 && words[0] == "connections":
		return answer{"count": len(node.Network().Conns())}, nil
	case len(words) == 2 && words[0] == "paths":
		return paths(node, words[1])
	case len(words) == 2 && words[0] == "reserve":
		return reserved(ctx, node, words[1])
	case len(words) == 2 && words[0] == "identified":
		return identified(node, words[1])
	case len(words) == 2 && words[0] == "ping":
		return pinged(ctx, node, words[1])
	case len(words) == 3 && words[0] == "echo":
		return echoed(ctx, node, words[1], words[2])
	case len(words) == 4 && words[0] == "ask":
		return asked(ctx, node, words[1], words[2], words[3])
	}
	return nil, fmt.Errorf("no such action: %q", words)
}

func connect(ctx context.Context, node host.Host, address string) (peer.ID, error) {
	info, err := peer.AddrInfoFromString(address)
	if err != nil {
		return "", err
	}
	return info.ID, node.Connect(ctx, *info)
}

func pinged(ctx context.Context, node host.Host, address string) (answer, error) {
	other, err := connect(ctx, node, address)
	if err != nil {
		return nil, err
	}
	result := <-ping.Ping(ctx, node, other)
	if result.Error != nil {
		return nil, result.Error
	}
	return answer{"rtt_ms": float64(result.RTT.Microseconds()) / 1000}, nil
}

func open(ctx context.Context, node host.Host, address, name string) (network.Stream, error) {
	other, err := connect(ctx, node, address)
	if err != nil {
		return nil, err
	}
	stream, err := node.NewStream(ctx, other, protocol.ID(name))
	if err != nil {
		return nil, err
	}
	return stream, stream.SetDeadline(time.Now().Add(patience))
}

func echoed(ctx context.Context, node host.Host, address, size string) (answer, error) {
	wanted, err := strconv.Atoi(size)
	if err != nil {
		return nil, err
	}
	stream, err := open(ctx, node, address, echoProtocol)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	sent := make(chan error, 1)
	go func() {
		_, err := stream.Write(make([]byte, wanted))
		sent <- err
	}()
	got, err := io.CopyN(io.Discard, stream, int64(wanted))
	if err != nil {
		return nil, err
	}
	return answer{"got": got}, <-sent
}

// asked sends one request as docs/formats/node.md says, a length and that many bytes, and returns the answer's bytes.
func asked(ctx context.Context, node host.Host, address, name, body string) (answer, error) {
	request, err := hex.DecodeString(body)
	if err != nil {
		return nil, err
	}
	stream, err := open(ctx, node, address, name)
	if err != nil {
		return nil, err
	}
	defer stream.Reset()
	frame := binary.BigEndian.AppendUint32(nil, uint32(len(request)))
	if _, err := stream.Write(append(frame, request...)); err != nil {
		return nil, err
	}
	var size uint32
	if err := binary.Read(stream, binary.BigEndian, &size); err != nil {
		return nil, err
	}
	if size > maxAnswer {
		return nil, fmt.Errorf("answer of %d bytes, limit %d", size, maxAnswer)
	}
	found := make([]byte, size)
	if _, err := io.ReadFull(stream, found); err != nil {
		return nil, err
	}
	return answer{"answer": hex.EncodeToString(found)}, nil
}

// identified is what the other side said of itself in identify.
func identified(node host.Host, id string) (answer, error) {
	other, err := peer.Decode(id)
	if err != nil {
		return nil, err
	}
	protocols, err := node.Peerstore().GetProtocols(other)
	return answer{"protocols": protocols}, err
}
