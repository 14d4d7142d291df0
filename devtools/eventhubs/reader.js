// A receiver's link to a partition, as the server sees it: where it stands, and
// which readers are let in beside which.
"use strict";

const rhea = require("rhea");

// A pump writes this much at a time, and waits while more than that is on its
// way to a slow client.
const most = { events: 256, bytes: 1 << 20 };

// withoutEpoch is how many readers without an owner level a group has in a
// partition.
const withoutEpoch = 5;

const selector = /^amqp\.annotation\.x-opt-(offset|sequence-number|enqueued-time) (>=?) '([^']*)'$/;

// position is the sequence number that a selector filter begins at; undefined
// for one that is not understood.
function position(partition, filter) {
  if (!filter) return partition.first;
  const parts = selector.exec(filter);
  if (!parts) return undefined;
  const [, field, operator, text] = parts;
  if (field === "offset" && text === "@latest") return partition.next;
  const value = Number(text);
  if (text === "" || !Number.isFinite(value)) return undefined;
  const beyond = operator === ">=" ? (x) => x >= value : (x) => x > value;
  switch (field) {
    case "offset":
      return partition.find((event) => beyond(Number(event.offset)));
    case "sequence-number":
      return Math.max(partition.first, operator === ">=" ? value : value + 1);
    default:
      return partition.find((event) => beyond(event.enqueued));
  }
}

// admit says whom a new reader ends and what refuses it. As in the service, a
// reader with an owner level ends all others of its group in the partition
// unless one has a higher level; while it is there, no other comes in without a
// level.
function admit(partition, group, epoch) {
  const others = [...partition.readers].filter((reader) => reader.group === group);
  const owner = others.find((reader) => reader.epoch !== undefined);
  if (epoch === undefined) {
    if (owner) {
      return {
        refused: {
          condition: "amqp:link:stolen",
          description:
            `At least one receiver for the endpoint is created with epoch of '${owner.epoch}', and so non-epoch receiver is not allowed. ` +
            "Either reconnect with a higher epoch, or make sure all epoch receivers are closed or disconnected.",
        },
      };
    }
    if (others.length >= withoutEpoch) {
      return {
        refused: {
          condition: "amqp:resource-limit-exceeded",
          description: `Exceeded the maximum number of allowed receivers per partition in a consumer group which is ${withoutEpoch}.`,
        },
      };
    }
    return { ended: [] };
  }
  if (owner && owner.epoch > epoch) {
    return {
      refused: {
        condition: "amqp:link:stolen",
        description: `A receiver with a higher epoch '${owner.epoch}' already exists. A new receiver with epoch ${epoch} cannot be created.`,
      },
    };
  }
  return { ended: others };
}

class Reader {
  constructor(link, hub, partition, group, epoch, next) {
    this.link = link;
    this.hub = hub;
    this.partition = partition;
    this.group = group;
    this.epoch = epoch;
    this.next = next; // sequence number
    this.given = 0; // deliveries given to the link
    this.waits = false;
    partition.readers.add(this);
  }

  // end detaches the link with an error.
  end(condition, description) {
    this.forget();
    this.link.close({ condition, description });
  }

  forget() {
    this.partition.readers.delete(this);
  }

  // pump gives the link what it has credit for.
  pump() {
    if (this.waits || !this.partition.readers.has(this) || !this.link.is_open()) return;
    this.next = Math.max(this.next, this.partition.first); // what is older is gone
    let bytes = 0;
    for (let n = 0; n < most.events && bytes < most.bytes; n++) {
      const event = this.partition.at(this.next);
      // The link counts a delivery as given when it is written.
      const credit = this.link.credit - (this.given - this.link.delivery_count);
      if (!event || credit <= 0 || !this.link.sendable()) return;
      const message = encode(event);
      // Settled at once: the client would not settle, and run out of credit.
      this.link.send(message, undefined, 0).settled = true;
      bytes += message.length;
      this.given++;
      this.next++;
    }
    this.later();
  }

  // later pumps on when what was given is on its way.
  later() {
    this.waits = true;
    setImmediate(() => {
      const socket = this.link.connection.socket;
      const on = () => {
        this.waits = false;
        this.pump();
      };
      if (socket.writableLength > most.bytes) socket.once("drain", on);
      else on();
    });
  }
}

// encode puts the service's annotations before what was sent.
function encode(event) {
  const { types } = rhea;
  const annotations = { ...event.annotations };
  annotations["x-opt-sequence-number"] = types.wrap_long(event.sequence);
  annotations["x-opt-offset"] = types.wrap_string(event.offset);
  annotations["x-opt-enqueued-time"] = types.wrap_timestamp(event.enqueued);
  if (event.key !== undefined && event.key !== null) annotations["x-opt-partition-key"] = types.wrap_string(event.key);
  const writer = new types.Writer();
  writer.write(types.described(types.wrap_ulong(0x72), types.wrap_symbolic_map(annotations)));
  return Buffer.concat([writer.toBuffer(), event.data]);
}

module.exports = { Reader, position, admit };
