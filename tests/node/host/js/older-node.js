// js-libp2p 3 is written for Node.js 22; with this it runs on 20 too.
import { WebSocket } from 'ws'

globalThis.WebSocket ??= WebSocket
Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new this((yes, no) => { resolve = yes; reject = no })
  return { promise, resolve, reject }
}
