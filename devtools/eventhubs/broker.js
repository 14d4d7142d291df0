// The AMQP side of the stand-in: connections, claims, management, links.
"use strict";

const { createHmac, timingSafeEqual } = require("crypto");
const net = require("net");
const rhea = require("rhea");
const { Faults } = require("./faults");
const { Memory, Hub, bare } = require("./store");
const { Reader, position, admit } = require("./reader");

const batchFormat = 0x80013700; // of a message whose data sections are messages
const frameSize = 65536;
const credit = 300; // sends that may be under way on a link

const refused = {
  unauthorized: { condition: "amqp:unauthorized-access", description: "Put a token for the entity first." },
  missing: { condition: "amqp:not-found", description: "The messaging entity could not be found." },
  partition: { condition: "com.microsoft:argument-out-of-range", description: "The partition does not exist." },
  filter: { condition: "amqp:invalid-field", description: "The filter is not understood." },
  busy: { condition: "com.microsoft:server-busy", description: "The request was terminated because the entity is being throttled." },
  tooLarge: { condition: "amqp:link:message-size-exceeded", description: "The message is larger than the link allows." },
  full: { condition: "amqp:resource-limit-exceeded", description: "The stand-in's memory is full." },
  malformed: { condition: "amqp:decode-error", description: "The message cannot be decoded." },
};

class Broker {
  // memory: bytes of all events.
  constructor(memory, complain) {
    this.memory = new Memory(memory);
    this.complain = complain;
    this.hubs = new Map(); // by name in lower case
    this.connections = new Set();
    this.container = rhea.create_container({ id: "eventhubs-stand-in", autoaccept: false, credit_window: 0, max_frame_size: frameSize });
    this.container.sasl_server_mechanisms.enable_anonymous();
    this.container.sasl_server_mechanisms.MSSBCBS = () => ({
      start() {
        this.outcome = true;
      },
    });
    this.listenToLinks();
  }

  // create makes a hub, or makes it anew with nothing in it.
  create(options) {
    this.drop(options.name);
    const hub = new Hub(options, this.memory);
    hub.faults = new Faults();
    this.hubs.set(options.name.toLowerCase(), hub);
  }

  // drop forgets a hub and cuts who uses it.
  drop(name) {
    const hub = this.hubs.get(name.toLowerCase());
    if (!hub) return;
    hub.faults.clear();
    this.cut(hub);
    for (const partition of hub.partitions) partition.clear();
    this.hubs.delete(name.toLowerCase());
  }

  hub(name) {
    return this.hubs.get(String(name).toLowerCase());
  }

  // listen takes connections; it resolves with the port. Port 0 is one below
  // those that the system gives to outgoing connections: one that is closed for a
  // while must be there to be had again.
  async listen(host, port) {
    for (let tries = 100; port === 0 && tries > 0; tries--) {
      try {
        return await this.listenAt(host, 20000 + Math.floor(Math.random() * 12000));
      } catch (err) {
        if (err.code !== "EADDRINUSE") throw err;
      }
    }
    return this.listenAt(host, port);
  }

  listenAt(host, port) {
    return new Promise((resolve, reject) => {
      const server = net.createServer((socket) => this.accept(socket));
      server.once("error", reject);
      server.listen(port, host, () => {
        this.server = server;
        resolve(server.address().port);
      });
    });
  }

  // close cuts all connections and takes no more. What is kept stays.
  close() {
    return new Promise((resolve) => {
      if (!this.server) return resolve();
      this.server.close(() => resolve());
      this.server = undefined;
      for (const connection of [...this.connections]) this.sever(connection);
    });
  }

  accept(socket) {
    socket.on("error", () => {}); // a client that goes away is nothing to tell
    socket.setNoDelay(true);
    const connection = this.container.create_connection({}).accept(socket);
    connection.claims = new Set(); // of hubs
    connection.replies = new Map(); // by the address of the client's end
    this.connections.add(connection);
    socket.on("close", () => this.forget(connection));
  }

  // sever cuts a connection as the loss of the network does. With an error,
  // else rhea's timers would go on.
  sever(connection) {
    connection.socket.destroy(new Error("severed"));
    this.forget(connection);
  }

  forget(connection) {
    this.connections.delete(connection);
    connection.each_link((link) => link.reader && link.reader.forget());
  }

  using(hub) {
    return [...this.connections].filter((connection) => connection.claims.has(hub));
  }

  // cut severs the connections of those who use a hub.
  cut(hub) {
    for (const connection of this.using(hub)) this.sever(connection);
  }

  // detach ends the links to a hub, as the service does when it moves things.
  detach(hub) {
    for (const connection of this.using(hub)) {
      connection.each_link((link) => {
        if (link.hub !== hub || !link.is_open()) return;
        if (link.reader) link.reader.forget();
        link.close({ condition: "amqp:link:detach-forced", description: "The link is force detached." });
      });
    }
  }

  listenToLinks() {
    const forgetLink = (link) => link.reader && link.reader.forget();
    const on = (event, act) => this.container.on(event, act);
    on("receiver_open", ({ receiver }) => this.openSender(receiver));
    on("sender_open", ({ sender }) => this.openReceiver(sender));
    on("sendable", ({ sender }) => sender.reader && sender.reader.pump());
    on("message", (context) => this.take(context));
    on("sender_close", ({ sender }) => forgetLink(sender));
    on("session_close", ({ session }) => session.each_link(forgetLink));
    for (const event of ["connection_close", "connection_error", "session_error", "sender_error", "receiver_error", "disconnected"]) {
      on(event, () => {});
    }
    on("error", (err) => this.complain(err.stack || String(err)));
  }

  // openSender answers a client that wants to send.
  openSender(link) {
    const address = path(link.remote.attach.target);
    mirror(link);
    if (address[0] !== "$cbs" && address[0] !== "$management") {
      const [err, hub] = this.entity(link.connection, address[0]);
      if (err) return link.close(err);
      if (address.length > 1) {
        link.partition = address[1].toLowerCase() === "partitions" ? hub.partition(address[2]) : undefined;
        if (!link.partition) return link.close(refused.partition);
      }
      link.hub = hub;
      link.local.attach.max_message_size = hub.maxMessage;
    }
    link.entity = address[0];
    link.set_source({ address: link.remote.attach.source && link.remote.attach.source.address });
    link.set_target({ address: link.remote.attach.target.address });
    link.set_credit_window(credit);
    link.flow(credit);
  }

  // openReceiver answers a client that wants to receive: events, or answers to
  // what it asks.
  openReceiver(link) {
    const { source, target } = link.remote.attach;
    const address = path(source);
    mirror(link);
    if (address[0] === "$cbs" || address[0] === "$management") {
      link.connection.replies.set(target && target.address, link);
    } else {
      const err = this.read(link, address);
      if (err) return link.close(err);
    }
    link.set_source({ address: source.address });
    link.set_target({ address: target && target.address });
  }

  // read makes link a reader of the partition that address names, or returns
  // why not.
  read(link, address) {
    const [err, hub] = this.entity(link.connection, address[0]);
    if (err) return err;
    const [, groups, group, partitions, id] = address;
    if (!id || groups.toLowerCase() !== "consumergroups" || partitions.toLowerCase() !== "partitions" || !hub.has(group)) return refused.missing;
    const partition = hub.partition(id);
    if (!partition) return refused.partition;
    const next = position(partition, filter(link.remote.attach.source));
    if (next === undefined) return refused.filter;
    const epoch = numeric((link.remote.attach.properties || {})["com.microsoft:epoch"]);
    const name = group.toLowerCase();
    const verdict = admit(partition, name, epoch);
    if (verdict.refused) return verdict.refused;
    for (const reader of verdict.ended) {
      reader.end("amqp:link:stolen", `New receiver with higher epoch of '${epoch}' is created hence current receiver is getting disconnected.`);
    }
    const rewound = partition.rewound.get(name);
    partition.rewound.delete(name);
    link.hub = hub;
    link.reader = new Reader(link, hub, partition, name, epoch, Math.min(next, rewound === undefined ? next : rewound));
    return undefined;
  }

  // entity is the hub that a link names, or why it cannot have it.
  entity(connection, name) {
    const hub = this.hub(name);
    if (!hub) return [refused.missing];
    if (!connection.claims.has(hub)) return [refused.unauthorized];
    return [undefined, hub];
  }

  // take is handed every message.
  take(context) {
    const { receiver, delivery, message, format } = context;
    if (!receiver.is_open()) return; // detached by us: the client sends again
    switch (receiver.entity) {
      case "$cbs":
        delivery.accept();
        return this.putToken(receiver.connection, message);
      case "$management":
        delivery.accept();
        return this.manage(receiver.connection, message);
      default:
        return this.keep(receiver, delivery, message, format);
    }
  }

  // keep stores what a client sends to a hub, and answers.
  keep(link, delivery, message, format) {
    const { hub } = link;
    const answer = (err) =>
      hub.faults.after(() => {
        if (!link.is_open()) return;
        if (err) delivery.reject(err);
        else delivery.accept();
        // Written at once: of two answers that it finds together rhea makes one,
        // with the outcome of the first, and a refusal becomes a confirmation.
        link.session.incoming.process(link.session);
      });
    if (hub.faults.isBusy()) return answer(refused.busy);
    const encoded = format === undefined ? rhea.message.encode(message) : message;
    if (encoded.length > hub.maxMessage) return answer(refused.tooLarge);
    let events;
    try {
      events = unpack(encoded, format);
    } catch (err) {
      return answer(refused.malformed);
    }
    const partition = link.partition || hub.choose(events[0].key);
    if (!partition.append(events, Date.now())) return answer(refused.full);
    if (hub.faults.loses()) return this.sever(link.connection);
    return answer();
  }

  // putToken checks a shared access signature and notes the claim.
  putToken(connection, message) {
    const asked = message.application_properties || {};
    const hub = this.hub(path({ address: asked.name })[0]);
    if (!hub) return this.reply(connection, message, 404, "The messaging entity could not be found.");
    if (hub.faults.refuse) return this.sever(connection);
    hub.faults.after(() => {
      if (!valid(hub, String(message.body))) return this.reply(connection, message, 401, "The token is not one of this hub.");
      connection.claims.add(hub);
      return this.reply(connection, message, 202, "Accepted");
    });
  }

  // manage answers questions about hubs and partitions.
  manage(connection, message) {
    const asked = message.application_properties || {};
    const hub = this.hub(asked.name);
    if (!hub) return this.reply(connection, message, 404, "The messaging entity could not be found.");
    if (!connection.claims.has(hub)) return this.reply(connection, message, 401, "Put a token for the entity first.");
    hub.faults.after(() => {
      const body = asked.operation === "READ" && describe(hub, asked);
      if (!body) return this.reply(connection, message, 404, "There is no such thing to read.");
      return this.reply(connection, message, 200, "OK", body);
    });
  }

  // reply answers a request over the link that it names.
  reply(connection, request, status, description, body) {
    const link = connection.replies.get(request.reply_to);
    if (!link || !link.is_open()) return;
    link.send({
      correlation_id: request.message_id,
      application_properties: { "status-code": rhea.types.wrap_int(status), "status-description": description },
      body,
    }).settled = true;
  }
}

// mirror takes the client's settle modes: it closes the link otherwise.
function mirror(link) {
  link.local.attach.snd_settle_mode = link.remote.attach.snd_settle_mode;
  link.local.attach.rcv_settle_mode = link.remote.attach.rcv_settle_mode;
}

// path is the path of an address, cut at its slashes, with or without a host.
function path(terminus) {
  const address = (terminus && terminus.address) || "";
  return address.replace(/^[a-z]+:\/\/[^/]*\//i, "").split("/");
}

// filter is the text of a source's selector filter.
function filter(source) {
  const set = source.filter || {};
  const value = set["apache.org:selector-filter:string"];
  return value === undefined || value === null ? undefined : String(value.value === undefined ? value : value.value);
}

// numeric is a whole number that came in whichever type; undefined for none.
function numeric(value) {
  if (value === undefined || value === null) return undefined;
  return Buffer.isBuffer(value) ? Number(value.readBigInt64BE()) : Number(value);
}

// unpack returns the events of a message, which are its data sections if it is
// a batch.
function unpack(encoded, format) {
  const messages = format === batchFormat ? sections(encoded) : [encoded];
  return messages.map((message) => {
    const { data, annotations } = bare(message);
    const { "x-opt-partition-key": key, ...rest } = annotations;
    return { data, key, annotations: rest };
  });
}

function sections(batch) {
  const { body } = rhea.message.decode(batch);
  const content = body.multiple ? body.content : [body.content];
  if (!content.every((part) => Buffer.isBuffer(part))) throw new Error("a batch holds data sections only");
  return content;
}

// valid says whether a shared access signature is by a hub's key and not
// expired.
function valid(hub, token) {
  const parts = /^SharedAccessSignature (.*)$/.exec(token);
  if (!parts) return false;
  const fields = Object.fromEntries(parts[1].split("&").map((field) => [field.slice(0, field.indexOf("=")), field.slice(field.indexOf("=") + 1)]));
  if (fields.skn !== hub.keyName || !(Number(fields.se) * 1000 > Date.now())) return false;
  if (path({ address: decodeURIComponent(fields.sr || "") })[0] !== hub.name.toLowerCase()) return false;
  const want = createHmac("sha256", hub.key).update(`${fields.sr}\n${fields.se}`).digest();
  const got = Buffer.from(decodeURIComponent(fields.sig || ""), "base64");
  return got.length === want.length && timingSafeEqual(got, want);
}

// describe is what management says of a hub, or of one of its partitions.
function describe(hub, asked) {
  const { types } = rhea;
  if (asked.type === "com.microsoft:eventhub") {
    const ids = hub.partitions.map((partition) => partition.id);
    return {
      name: hub.name,
      type: asked.type,
      created_at: types.wrap_timestamp(hub.created),
      partition_count: types.wrap_int(ids.length),
      partition_ids: types.wrap_array(ids, 0xb1),
      georeplication_factor: types.wrap_int(1),
    };
  }
  const partition = asked.type === "com.microsoft:partition" && hub.partition(asked.partition);
  if (!partition) return undefined;
  return {
    name: hub.name,
    type: asked.type,
    partition: partition.id,
    begin_sequence_number: types.wrap_long(partition.first),
    last_enqueued_sequence_number: types.wrap_long(partition.next - 1),
    last_enqueued_offset: partition.last.offset,
    last_enqueued_time_utc: types.wrap_timestamp(partition.last.enqueued),
    is_partition_empty: partition.empty,
  };
}

module.exports = { Broker };
