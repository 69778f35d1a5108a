// A js-libp2p peer for the interoperability tests: says who and where it is, then does what each line of its input says.
// Its one argument is the seed of its key, in hex.
import './older-node.js'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { identify } from '@libp2p/identify'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { createInterface } from 'node:readline'

const say = (what) => process.stdout.write(JSON.stringify(what) + '\n')

const seed = process.argv[2]
const node = await createLibp2p({
  ...(seed && { privateKey: await generateKeyPairFromSeed('Ed25519', Buffer.from(seed, 'hex')) }),
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: { identify: identify(), ping: ping() }
})

const ECHO = '/peerwatch/test/echo/1'
await node.handle(ECHO, async (stream) => {
  for await (const part of stream) stream.send(part)
  await stream.close()
})

const actions = {
  ping: async (address) => ({ rtt_ms: await node.services.ping.ping(multiaddr(address)) }),
  echo: async (address, size) => {
    const stream = await node.dialProtocol(multiaddr(address), ECHO)
    const wanted = Number(size)
    let got = 0
    const all = (async () => {
      for await (const part of stream) {
        got += part.byteLength
        if (got >= wanted) break
      }
    })()
    for (let sent = 0; sent < wanted; sent += 16384) {
      if (!stream.send(new Uint8Array(Math.min(16384, wanted - sent)))) await stream.onDrain()
    }
    await all
    await stream.close()
    return { got }
  },
  // One request as docs/formats/node.md says, a length and that many bytes, to the answer's bytes.
  ask: async (address, protocol, body) => {
    const stream = await node.dialProtocol(multiaddr(address), protocol)
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
