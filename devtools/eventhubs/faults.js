// What goes wrong with a hub, on request.
"use strict";

// random is a small generator with a seed (mulberry32): the same faults again
// for the same calls.
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

class Faults {
  constructor() {
    this.clear();
  }

  clear() {
    this.refuse = false; // connections that ask for the hub are cut
    this.delay = 0; // ms before each answer
    this.busy = 0; // the share of sends that is answered server-busy
    this.lose = 0; // how many sends are kept and then cut before the answer
    this.cutEvery(0);
    this.draw = random(1);
  }

  // set takes the settings that are there and leaves the others.
  set(settings, cut) {
    for (const name of ["refuse", "delay", "busy", "lose"]) {
      if (settings[name] !== undefined) this[name] = settings[name];
    }
    if (settings.seed !== undefined) this.draw = random(settings.seed);
    if (settings.cutEvery !== undefined) this.cutEvery(settings.cutEvery, cut);
  }

  cutEvery(ms, cut) {
    clearInterval(this.timer);
    this.timer = ms > 0 ? setInterval(cut, ms) : undefined;
  }

  // isBusy draws whether a send is answered server-busy.
  isBusy() {
    return this.busy > 0 && this.draw() < this.busy;
  }

  // loses says whether a send that is kept is cut before its answer.
  loses() {
    if (this.lose <= 0) return false;
    this.lose--;
    return true;
  }

  // after calls what answers, late if answers are.
  after(answer) {
    if (this.delay > 0) setTimeout(answer, this.delay);
    else answer();
  }
}

module.exports = { Faults };
