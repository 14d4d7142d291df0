// Runs the Table service of Azurite, in memory, on a free port of loopback,
// until stdin is closed: so it ends with its parent, however that ends.
//
// Arguments: the secret of the accounts' keys and how many accounts there are.
// Azurite's own command takes accounts from an environment variable only, which
// the system limits to a few thousand; set from inside there is no limit.
"use strict";

const { createHmac } = require("crypto");
const TableConfiguration = require("azurite/dist/src/table/TableConfiguration").default;
const TableServer = require("azurite/dist/src/table/TableServer").default;

const [secret, count] = process.argv.slice(1);

const accounts = [];
for (let i = 0; i < Number(count); i++) {
  const name = "account" + i;
  accounts.push(name + ":" + createHmac("sha256", secret).update(name).digest("base64"));
}
process.env.AZURITE_ACCOUNTS = accounts.join(";");

const server = new TableServer(
  new TableConfiguration(
    "127.0.0.1",
    0, // any port
    600, // keep idle connections: a client that reuses one just then would see a fault
    "", // no file
    false, // no debug log
    false, // no access log
    undefined,
    undefined,
    false,
    false,
    "",
    "",
    "",
    undefined,
    false,
    true, // in memory
  ),
);

server.start().then(
  () => console.log(server.getHttpServerAddress()),
  (err) => {
    console.error(err.message);
    process.exit(1);
  },
);

process.stdin.on("close", () => process.exit(0));
process.stdin.resume();
