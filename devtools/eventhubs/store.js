// What the stand-in keeps: hubs of partitions of events, in memory, bounded.
"use strict";

const { createHash } = require("crypto");
const rhea = require("rhea");

// overhead is what an event's offset and its share of the memory count beside
// its bytes.
const overhead = 56;

// never is the last enqueued time of a partition that no event was ever in.
const never = -62135596800000; // 0001-01-01T00:00:00Z

const section = { header: 0x70, deliveryAnnotations: 0x71, annotations: 0x72 };

// Memory counts the bytes of all events of a server.
class Memory {
  constructor(limit) {
    this.limit = limit;
    this.used = 0;
  }
}

// bare cuts an encoded message into what the service keeps (properties,
// application properties, body, byte for byte as they were sent) and the
// annotations, which it replaces by its own.
function bare(message) {
  const reader = new rhea.types.Reader(message);
  const kept = [];
  let annotations = {};
  while (reader.remaining()) {
    const start = reader.position;
    const part = reader.read();
    const code = part.descriptor && part.descriptor.value;
    if (code === section.annotations) {
      annotations = rhea.types.unwrap_map_simple(part);
    } else if (code !== section.header && code !== section.deliveryAnnotations) {
      kept.push(message.subarray(start, reader.position));
    }
  }
  // A copy: a slice would keep the whole frame that it came in.
  return { data: Buffer.concat(kept), annotations };
}

// Partition is a log: sequence numbers rise by one, offsets by the bytes of the
// events, and enqueued times never fall.
class Partition {
  constructor(id, retention, memory) {
    this.id = id;
    this.retention = retention; // events that are kept, 0: all of them
    this.memory = memory;
    this.readers = new Set();
    this.rewound = new Map(); // consumer group → sequence number to begin at
    this.clear();
  }

  clear() {
    if (this.events) this.trim(this.next);
    this.events = [];
    this.start = 0; // the place in events of the oldest one that is kept
    this.first = 0; // its sequence number
    this.bytes = 0; // the next event's offset
    this.last = { offset: "-1", enqueued: never };
  }

  // next is the sequence number of the next event.
  get next() {
    return this.first + this.events.length - this.start;
  }

  get empty() {
    return this.events.length === this.start;
  }

  // append keeps events of {data, key, annotations}, all or none, and says
  // whether there is room. now: their enqueued time in ms, unless one brings its
  // own.
  append(events, now) {
    const size = events.reduce((sum, event) => sum + event.data.length + overhead, 0);
    if (this.memory.used + size > this.memory.limit) return false;
    for (const event of events) {
      event.sequence = this.next;
      event.offset = String(this.bytes);
      event.enqueued = Math.max(event.enqueued === undefined ? now : event.enqueued, this.last.enqueued);
      event.size = event.data.length + overhead;
      this.bytes += event.size;
      this.memory.used += event.size;
      this.events.push(event);
      this.last = event;
    }
    if (this.retention > 0) this.trim(this.next - this.retention);
    for (const reader of [...this.readers]) reader.pump();
    return true;
  }

  // trim drops the events before a sequence number, as retention does.
  trim(before) {
    while (!this.empty && this.first < before) {
      this.memory.used -= this.events[this.start].size;
      this.events[this.start] = undefined;
      this.start++;
      this.first++;
    }
    if (this.start > 1024 && this.start > this.events.length / 2) {
      this.events.splice(0, this.start);
      this.start = 0;
    }
  }

  // at is the event with a sequence number, which must not be older than first;
  // undefined if it is still to come.
  at(sequence) {
    return this.events[this.start + sequence - this.first];
  }

  // find returns the sequence number of the first event that satisfies a test
  // which holds for all events after the first that it holds for.
  find(test) {
    let low = this.first;
    let high = this.next;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (test(this.at(middle))) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

// Hub is an event hub with faults of its own, so that tests which share a
// server do not meet.
class Hub {
  constructor(options, memory) {
    this.name = options.name;
    this.keyName = options.keyName;
    this.key = options.key;
    this.maxMessage = options.maxMessage;
    this.groups = options.groups && options.groups.length ? new Set(options.groups.map((g) => g.toLowerCase())) : null;
    this.created = Date.now();
    this.turn = 0; // whose turn it is to get an event without a key
    this.partitions = [];
    for (let i = 0; i < options.partitions; i++) {
      this.partitions.push(new Partition(String(i), options.retention, memory));
    }
  }

  // partition by its id, undefined if there is none.
  partition(id) {
    return this.partitions.find((partition) => partition.id === id);
  }

  // choose gives events with a key the same partition always, those without
  // one the next. The service hashes in a way of its own, which nobody may rely
  // on.
  choose(key) {
    if (key === undefined || key === null || key === "") {
      return this.partitions[this.turn++ % this.partitions.length];
    }
    const hash = createHash("sha256").update(String(key)).digest().readUInt32BE(0);
    return this.partitions[hash % this.partitions.length];
  }

  has(group) {
    return this.groups === null || this.groups.has(group.toLowerCase());
  }
}

module.exports = { Memory, Hub, bare };
