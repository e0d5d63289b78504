// A TLS tunnel with Node.js; see harness/tls_peers.py. It has no way to send a KeyUpdate.
"use strict";
const fs = require("fs");
const net = require("net");
const tls = require("tls");

const [role, targetPort, certificate, key, authority] = process.argv.slice(2);
const isServer = role === "server";
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);

function fail(error) {
  console.error(String(error));
  process.exit(1);
}

// Calls `done` when the first bytes, SSLRequest or its answer, have come.
function agreeOnTls(raw, done) {
  raw.once("data", (bytes) => {
    if (!bytes.equals(isServer ? SSL_REQUEST : Buffer.from("S"))) fail("no TLS");
    raw.pause();
    if (isServer) raw.write("S");
    done();
  });
  if (!isServer) raw.write(SSL_REQUEST);
}

function copy(raw, plain) {
  const settings = { minVersion: "TLSv1.3", ALPNProtocols: ["postgresql"] };
  const stream = isServer
    ? new tls.TLSSocket(raw, {
        ...settings,
        isServer: true,
        secureContext: tls.createSecureContext({
          ...settings,
          cert: fs.readFileSync(certificate),
          key: fs.readFileSync(key),
        }),
      })
    : tls.connect({ ...settings, socket: raw, servername: "localhost", ca: fs.readFileSync(authority) });
  stream.on("error", fail);
  let ended = false;
  for (const [from, to] of [[plain, stream], [stream, plain]]) {
    from.pipe(to);
    from.on("end", () => {
      if (!ended) console.error(`version=${stream.getProtocol()} sent=-1 received=-1`);
      ended = true;
    });
  }
  plain.on("error", fail);
}

const listener = net.createServer({ pauseOnConnect: true }, (accepted) => {
  listener.close();
  const target = net.connect(Number(targetPort), "127.0.0.1", () => {
    const [raw, plain] = isServer ? [accepted, target] : [target, accepted];
    raw.on("error", fail);
    raw.resume();
    agreeOnTls(raw, () => copy(raw, plain));
  });
});
listener.listen(0, "127.0.0.1", () => console.error(`port ${listener.address().port}`));
