// A js-libp2p peer for the interoperability tests: says who and where it is, then does what each line of its input says.
// `--seed` is that of its key, in hex; with `--relay` it is a relay for everybody; `--listen` is where it listens.
import './older-node.js'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { circuitRelayServer, circuitRelayTransport } from '@libp2p/circuit-relay-v2'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { identify } from '@libp2p/identify'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { webSockets } from '@libp2p/websockets'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { randomBytes } from 'node:crypto'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'

const say = (what) => process.stdout.write(JSON.stringify(what) + '\n')

const { seed, relay, listen } = parseArgs({
  options: {
    seed: { type: 'string' },
    relay: { type: 'boolean' },
    listen: { type: 'string', default: '/ip4/127.0.0.1/tcp/0' }
  }
}).values
const node = await createLibp2p({
  ...(seed && { privateKey: await generateKeyPairFromSeed('Ed25519', Buffer.from(seed, 'hex')) }),
  addresses: { listen: [listen] },
  transports: [tcp(), webSockets(), circuitRelayTransport()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: { identify: identify(), ping: ping(), ...(relay && { relay: circuitRelayServer() }) }
})

const ECHO = '/peerwatch/test/echo/1'
const RELAYED = { runOnLimitedConnection: true }
await node.handle(ECHO, async (stream) => {
  for await (const part of stream) stream.send(part)
  await stream.close()
}, RELAYED)

// A stream on the connection that there is: dialProtocol would make another for each, as it does for relayed ones.
const open = async (address, protocol) => {
  const peer = address.split('/p2p/').pop()
  const [known] = node.getConnections().filter((one) => one.remotePeer.toString() === peer)
  return known ? known.newStream(protocol, RELAYED) : node.dialProtocol(multiaddr(address), protocol, RELAYED)
}

const actions = {
  ping: async (address) => {
    const stream = await open(address, '/ipfs/ping/1.0.0')
    const began = performance.now()
    stream.send(randomBytes(32))
    let got = 0
    for await (const part of stream) {
      got += part.byteLength
      if (got >= 32) break
    }
    if (got < 32) throw new Error(`a ping's answer of ${got} bytes`)
    await stream.close()
    return { rtt_ms: performance.now() - began }
  },
  echo: async (address, size) => {
    const stream = await open(address, ECHO)
    const wanted = Number(size)
    const send = async () => {
      for (let sent = 0; sent < wanted; sent += 16384) {
        if (!stream.send(new Uint8Array(Math.min(16384, wanted - sent)))) await stream.onDrain()
      }
    }
    send().catch(() => {}) // whatever breaks it ends the reading too
    let got = 0
    for await (const part of stream) {
      got += part.byteLength
      if (got >= wanted) break
    }
    if (got < wanted) throw new Error(`an echo of ${got} bytes`)
    await stream.close()
    return { got }
  },
  // One request as docs/formats/node.md says, a length and that many bytes, to the answer's bytes.
  ask: async (address, protocol, body) => {
    const stream = await open(address, protocol)
    const request = Buffer.from(body, 'hex')
    const frame = Buffer.alloc(4 + request.length)
    frame.writeUInt32BE(request.length)
    request.copy(frame, 4)
    stream.send(frame)
    let answer = Buffer.alloc(0)
    for await (const part of stream) {
      answer = Buffer.concat([answer, part.subarray()])
      if (answer.length >= 4 && answer.length >= 4 + answer.readUInt32BE()) break
    }
    stream.abort(new Error('answered'))
    return { answer: answer.subarray(4).toString('hex') }
  },
  // What the other side said of itself in identify.
  identified: async (peer) => {
    for (const known of await node.peerStore.all()) {
      if (known.id.toString() === peer && known.protocols.length > 0) return { protocols: known.protocols }
    }
    return { protocols: [] }
  },
  // What a relay grants; from then on it leads others here.
  reserve: async (address) => {
    await node.components.transportManager.listen([multiaddr(`${address}/p2p-circuit`)])
    return { addresses: node.getMultiaddrs().map(String).filter((one) => one.includes('/p2p-circuit')) }
  },
  paths: async (peer) => {
    const open = node.getConnections().filter((one) => one.remotePeer.toString() === peer)
    const relayed = open.filter((one) => one.remoteAddr.toString().includes('/p2p-circuit')).length
    return { direct: open.length - relayed, relayed }
  },
  connections: async () => ({ count: node.getConnections().length })
}

say({ addresses: node.getMultiaddrs().map(String) })
for await (const line of createInterface({ input: process.stdin })) {
  const [action, ...rest] = line.split(' ')
  try {
    say(await actions[action](...rest))
  } catch (error) {
    say({ error: String(error) })
  }
}
await node.stop()
