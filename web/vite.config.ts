import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

export default defineConfig({
  plugins: [svelte()],
  base: "./", // the hub may be mounted below a path of a proxy
  build: {
    outDir: "../src/peerwatch/dashboard/static",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0, // the CSP allows no data: addresses
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    license: { fileName: "licenses.md" }, // what we hand on must say whose it is
    rolldownOptions: { input: ["index.html", "graph.html"] }, // the live page does not carry the editor
  },
  server: {
    proxy: { "/dashboard": "http://127.0.0.1:9480", "/api": "http://127.0.0.1:9480" },
  },
  test: { include: ["src/**/*.test.ts"], environment: "node" },
});
