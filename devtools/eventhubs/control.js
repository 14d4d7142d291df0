// The control port: one POST with a JSON object per order, at /<order>; the
// answer is a JSON object, or {"error": "…"} with status 400.
"use strict";

const http = require("http");
const rhea = require("rhea");
const { bare } = require("./store");

// most an order, and an answer with events, may hold.
const most = { body: 64 << 20, page: 1000, bytes: 16 << 20 };

// orders by their names. Each is given the broker and the request's object.
const orders = {
  create(broker, asked) {
    broker.create(asked);
  },
  drop(broker, { hub }) {
    broker.drop(hub);
  },

  // clear makes a hub anew: the same name, partitions and keys, and nothing in it.
  clear(broker, { hub }) {
    const it = known(broker, hub);
    broker.cut(it);
    for (const partition of it.partitions) partition.clear();
    it.created = Date.now();
  },

  // put appends events as no client of ours sends them, such as IoT Hub's.
  put(broker, { hub, partition, events }) {
    const it = known(broker, hub);
    for (const event of events) {
      const to = partition === undefined ? it.choose(event.partitionKey) : part(it, partition);
      if (!to.append([encode(event)], Date.now())) throw new Error("the stand-in's memory is full");
    }
  },

  // contents is a page of a partition's events from a sequence number on; it is
  // empty only if there are none.
  contents(broker, { hub, partition, from = 0, most: count = most.page }) {
    const it = part(known(broker, hub), partition);
    const events = [];
    let bytes = 0;
    for (let n = Math.max(from, it.first); n < it.next && events.length < Math.min(count, most.page) && bytes < most.bytes; n++) {
      events.push(decode(it.at(n)));
      bytes += it.at(n).size;
    }
    return { events };
  },

  partitions(broker, { hub }) {
    const partitions = known(broker, hub).partitions.map((it) => ({
      id: it.id,
      first: it.first,
      next: it.next,
      readers: [...it.readers].map(({ group, epoch, next }) => ({ group, epoch, next })),
    }));
    return { partitions, memory: broker.memory.used, connections: broker.connections.size };
  },

  faults(broker, { hub, ...settings }) {
    const it = known(broker, hub);
    const cut = settings.links ? () => broker.detach(it) : () => broker.cut(it);
    it.faults.set(settings, cut);
    if (settings.refuse) broker.cut(it);
  },
  heal(broker, { hub }) {
    known(broker, hub).faults.clear();
  },
  cut(broker, { hub }) {
    broker.cut(known(broker, hub));
  },
  detach(broker, { hub }) {
    broker.detach(known(broker, hub));
  },

  // rewind gives a group's readers a partition again from a sequence number on:
  // those that are there at once, or the next one that comes.
  rewind(broker, { hub, partition, group, sequence }) {
    const it = part(known(broker, hub), partition);
    const name = group.toLowerCase();
    const readers = [...it.readers].filter((reader) => reader.group === name);
    if (readers.length === 0) it.rewound.set(name, sequence);
    for (const reader of readers) {
      reader.next = Math.min(reader.next, sequence);
      reader.pump();
    }
  },
  trim(broker, { hub, partition, before }) {
    part(known(broker, hub), partition).trim(before);
  },

  // stop closes the port and all connections; start opens it again. What is
  // kept stays.
  stop(broker) {
    return broker.close();
  },
  async start(broker) {
    if (!broker.server) await broker.listen(broker.address.host, broker.address.port);
  },
};

function known(broker, name) {
  const hub = broker.hub(name);
  if (!hub) throw new Error(`there is no hub ${name}`);
  return hub;
}

function part(hub, id) {
  const partition = hub.partition(id);
  if (!partition) throw new Error(`there is no partition ${id} in ${hub.name}`);
  return partition;
}

// typed writes whole numbers as AMQP's long, which clients expect, and
// {"time": ms} as a timestamp.
function typed(values) {
  const out = {};
  for (const [name, value] of Object.entries(values || {})) {
    if (Number.isInteger(value)) out[name] = rhea.types.wrap_long(value);
    else if (value && value.time !== undefined) out[name] = rhea.types.wrap_timestamp(value.time);
    else out[name] = value;
  }
  return out;
}

function encode(event) {
  const message = {
    application_properties: event.properties && typed(event.properties),
    content_type: event.contentType,
    content_encoding: event.contentEncoding,
    message_id: event.messageId,
    body: rhea.message.data_section(Buffer.from(event.body || "", "base64")),
  };
  const { data } = bare(rhea.message.encode(message));
  return { data, key: event.partitionKey, annotations: typed(event.annotations), enqueued: event.enqueued };
}

function decode(event) {
  const message = rhea.message.decode(event.data);
  const body = message.body && message.body.content;
  return {
    sequence: event.sequence,
    offset: event.offset,
    enqueued: event.enqueued,
    partitionKey: event.key,
    properties: message.application_properties,
    contentType: message.content_type,
    body: Buffer.isBuffer(body) ? body.toString("base64") : undefined,
  };
}

function read(request) {
  return new Promise((resolve, reject) => {
    const chunks = [];
    let size = 0;
    request.on("data", (chunk) => {
      size += chunk.length;
      if (size > most.body) return reject(new Error("the order is too large"));
      chunks.push(chunk);
    });
    request.on("end", () => resolve(Buffer.concat(chunks).toString()));
    request.on("error", reject);
  });
}

async function obey(broker, request) {
  // A browser's page cannot ask with this type unasked.
  if (request.method !== "POST" || request.headers["content-type"] !== "application/json") {
    throw new Error("orders are POST with application/json");
  }
  const name = request.url.slice(1);
  if (!Object.hasOwn(orders, name)) throw new Error(`there is no order ${name}`);
  const asked = JSON.parse((await read(request)) || "{}");
  return (await orders[name](broker, asked)) || {};
}

// serve answers orders on a port; it resolves with the port.
function serve(broker, host, port) {
  const server = http.createServer((request, response) => {
    const answer = (status, body) => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify(body));
    };
    obey(broker, request).then(
      (body) => answer(200, body),
      (err) => answer(400, { error: err.message }),
    );
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => resolve(server.address().port));
  });
}

module.exports = { serve };
