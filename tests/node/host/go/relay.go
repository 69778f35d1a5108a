package main

import (
	"context"
	"errors"
	"strings"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	"github.com/libp2p/go-libp2p/p2p/protocol/holepunch"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	"github.com/multiformats/go-multiaddr"
)

// beRelay serves Circuit Relay v2 with go-libp2p's own limits, on addresses that are not public too.
func beRelay(node host.Host) error {
	everywhere := func(multiaddr.Multiaddr) bool { return true }
	_, err := relay.New(node, relay.WithReservationAddressFilter(everywhere))
	return err
}

// punches answers DCUtR, and begins it with whoever reaches this peer through a relay. libp2p.New would first wait for
// an address that four others have seen, and that is public.
func punches(node host.Host, told string) error {
	knows, ok := node.(interface{ IDService() identify.IDService })
	if !ok {
		return errors.New("the host does not show its identify service")
	}
	addresses := node.Addrs
	if told != "own" {
		address, err := multiaddr.NewMultiaddr(told)
		if err != nil {
			return err
		}
		addresses = func() []multiaddr.Multiaddr { return []multiaddr.Multiaddr{address} }
	}
	_, err := holepunch.NewService(node, knows.IDService(), addresses)
	return err
}

// reserved asks a relay to lead others here, and is what the relay has granted.
func reserved(ctx context.Context, node host.Host, address string) (answer, error) {
	info, err := peer.AddrInfoFromString(address)
	if err != nil {
		return nil, err
	}
	held, err := client.Reserve(ctx, node, *info)
	if err != nil {
		return nil, err
	}
	found := []string{}
	for _, one := range held.Addrs {
		found = append(found, one.String())
	}
	return answer{"addresses": found, "seconds": held.LimitDuration.Seconds(), "bytes": held.LimitData}, nil
}

// paths are the connections to a peer: direct, or by a relay.
func paths(node host.Host, id string) (answer, error) {
	other, err := peer.Decode(id)
	if err != nil {
		return nil, err
	}
	direct, relayed := 0, 0
	for _, conn := range node.Network().ConnsToPeer(other) {
		if strings.Contains(conn.RemoteMultiaddr().String(), "/p2p-circuit") {
			relayed++
		} else {
			direct++
		}
	}
	return answer{"direct": direct, "relayed": relayed}, nil
}
