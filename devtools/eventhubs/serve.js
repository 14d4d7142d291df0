// Runs a stand-in of Azure Event Hubs until stdin is closed: so it ends with
// its parent, however that ends. Its last argument is a JSON object:
//
//   host, port, control   where to listen; port 0 (the default) is any
//   memory                bytes of all events together; more are refused
//   hubs                  hubs to begin with, as the order "create" takes them
//
// It prints a line with the addresses when it listens.
"use strict";

const { Broker } = require("./broker");
const control = require("./control");

async function main(options) {
  const host = options.host || "127.0.0.1";
  const broker = new Broker(options.memory || 512 << 20, (text) => console.error(text));
  for (const hub of options.hubs || []) broker.create(hub);
  broker.address = { host, port: await broker.listen(host, options.port || 0) };
  const orders = await control.serve(broker, host, options.control || 0);
  console.log(JSON.stringify({ address: `${host}:${broker.address.port}`, control: `${host}:${orders}` }));
}

process.stdin.on("close", () => process.exit(0));
process.stdin.resume();

main(JSON.parse(process.argv[process.argv.length - 1])).catch((err) => {
  console.error(err.message);
  process.exit(1);
});
