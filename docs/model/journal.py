#!/usr/bin/env python3
"""Random interleavings of the fenced journal (design.md, rules 1 to 8; mended: an opener never goes back to an earlier table, an
insert of !open is sent once under a nonce of its own, a deletion counts by its stamp) in larger worlds:
writers with skewed clocks and conflicting values, late data, three compactors that crash and pause, leaves that close and split,
rollups, lists, retention, deletions, journal tables dropped, slow and lost answers, calls that land after the caller gave up.

usage: journal.py SEEDS [BUG|- [FIRST]]     exit 1 at the first wrong answer, with its seed. JOURNAL_DELETE=inc: incarnations; cut (default):
readers drop what is not above the stamp of the deletion that the list names. Bugs:
 no-touch two-transactions open-twice name-unanswered drop-by-clock ack-unanswered invent-epoch merge-before-seal head-first
 head-blind leaf-blind insert-blind list-blind roll-blind roll-source-first roll-after-move skip-redo old-head leaf-before-tail
 gone-is-empty roll-despite-tail no-bound-check split-in-two ignore-stamp no-cut roll-any-cut counter no-survivors no-recheck"""
import bisect, heapq, math, os, random, sys
DAY, TABLE, KEEP, GRID = 40, 25, 4, 1.0      # seconds: an event day, a journal table; days kept; timestamps collide on a grid
INF, SHARDS = math.inf, {'a': 0, 'b': 0, 'c': 1}
BUGS = set(__doc__.split('Bugs:')[1].split('"""')[0].split())
INC = os.environ.get('JOURNAL_DELETE', 'cut') == 'inc'

class Abandon(Exception): pass               # refused, gone, or no answer: the run starts again from the head
class Gone(Exception): pass

def day(t): return int(t // DAY)

class World:
    def __init__(w, seed, bug):
        w.r, w.bug, w.now, w.queue, w.n, w.calm, w.error = random.Random(seed), bug, 1000.0, [], 0, False, None
        w.journal, w.days, w.rows, w.etag = {}, {}, {}, 0      # tables by name: partitions; event days: leaf rows; all other rows
        w.sent, w.acked, w.sent_del, w.acked_del = {}, [], [], []
        w.count = dict.fromkeys('acks reads merges refused_sealed resends doubled if_match page_again late_calls gone tables_dropped days_dropped deletions rolled_up from_rollup rollup_and_tail crashes day_gone'.split(), 0)
    def number(w): w.n += 1; return w.n
    def at(w, t, f): heapq.heappush(w.queue, (t, w.number(), f))
    def start(w, g): w.at(w.now + w.r.random(), lambda: w.step(g, None, None))
    def step(w, g, value, error):
        """Runs process g to its next store call: ('sleep', s), ('read', f) or ('write', f)."""
        try: op = g.throw(error) if error else g.send(value)
        except (StopIteration, Abandon, Gone): return
        r = w.r
        if op[0] == 'sleep': w.at(w.now + op[1], lambda: w.step(g, None, None)); return
        if w.calm: w.at(w.now, lambda: w.run_now(g, op[1])); return
        write = op[0] == 'write'
        lands = w.now + (r.uniform(0.5, 30) if r.random() < (0.03 if write else 0.004) else r.expovariate(20))
        lost, open_call = write and r.random() < 0.02, [True]
        def land():
            before = w.etag
            try: value, error = op[1](), None
            except (Abandon, Gone) as e: value, error = None, e
            if not open_call[0]: w.count['late_calls'] += w.etag != before; return
            def answer():
                if open_call[0]: open_call[0] = False; w.step(g, value, error)
            if not lost: w.at(w.now + r.expovariate(20) + (r.uniform(1, 60) if r.random() < (0.01 if write else 0.002) else 0), answer)   # or the process pauses
        def give_up():
            if open_call[0]: open_call[0] = False; w.step(g, 'no answer', None)
        w.at(lands, land)
        if write: w.at(w.now + 5, give_up)
    def run_now(w, g, f):
        try: value, error = f(), None
        except (Abandon, Gone) as e: value, error = None, e
        w.step(g, value, error)
    def run(w, until):
        while w.queue and w.queue[0][0] <= until and not w.error: w.now, _, f = heapq.heappop(w.queue); f()

    # -- the store. Every function is one atomic call. Rows: key -> (value, etag)
    def get(w, key): return 'read', lambda: w.rows.get(key, (None, None))
    def put(w, key, value, etag, blind=False):
        def f():
            if w.rows.get(key, (None, None))[1] != etag and not blind: w.count['if_match'] += 1; raise Abandon
            w.etag += 1; w.rows[key] = (value, w.etag); return True
        return 'write', f
    def insert_open(w, name):
        def f():
            p = w.journal.setdefault(name[0], {}).setdefault(name, {'open': False, 'rows': {}})   # makes the table if need be
            w.etag += 1; p['open'] = True; return True
        return 'write', f
    def delete_open(w, name):
        def f():
            p = w.journal.get(name[0], {}).get(name)
            if p: w.etag += p['open']; p['open'] = False
            return True
        return 'write', f
    def commit(w, name, rows, touch=True):
        def f():
            p = w.journal.get(name[0], {}).get(name)
            if not p or touch and not p['open'] and w.bug != 'no-touch': w.count['refused_sealed'] += 1; return False
            w.etag += 1; p['rows'].update(rows); return True
        return 'write', f
    def drop_table(w, table):
        def f(): w.count['tables_dropped'] += w.journal.pop(table, None) is not None; w.etag += 1; return True
        return 'write', f
    def page(w, name, last):
        def f():
            p = w.journal.get(name[0], {}).get(name)
            if p is None: raise Gone
            keys = sorted(k for k in p['rows'] if k > last)[:w.r.randint(0, 3)]     # pages may be short or empty (rule 9)
            more = any(k > (keys[-1] if keys else last) for k in p['rows'])
            return [(k, p['rows'][k]) for k in keys], more
        return 'read', f
    def leaf_keys(w, d, who, last):
        return 'read', lambda: sorted(k for k in w.days.get(d, {}) if k[0] == who and k[1] > last)[:w.r.randint(1, 3)]
    def leaf_rows(w, d, keys): return 'read', lambda: [w.days.get(d, {}).get(k, (None, None)) for k in keys]
    def leaf_transaction(w, d, changes):
        """changes: (key, value, etag that it must have or None for insert-only): all or none."""
        def f():
            table = w.days.setdefault(d, {})
            for k, _, etag in changes:
                blind = w.bug == 'leaf-blind' and etag is not None or w.bug == 'insert-blind' and etag is None
                if table.get(k, (None, None))[1] != etag and not blind: w.count['if_match'] += 1; raise Abandon
            for k, v, _ in changes: w.etag += 1; table[k] = (v, w.etag)
            return True
        return 'write', f

def beats(w, new, old): return old is None or w.bug == 'ignore-stamp' or (new[1], new[0]) > (old[1], old[0])
def merge(w, into, more):
    for t, x in more.items():
        if beats(w, x, into.get(t)): into[t] = x
    return into
def above(readings, stamp): return {t: x for t, x in readings.items() if x[1] > stamp}
def sure(answer):                             # a compactor's write without an answer: it may have landed or not; start again
    if answer == 'no answer': raise Abandon
    return answer
def who(dev, cut): return (dev, cut if INC else 0)       # the first part of leaf and rollup keys

def scan_epoch(w, name):
    rows, last, more = {}, (), True
    while more:
        got, more = yield w.page(name, last)
        for k, b in got: rows[k] = b; last = k
    return rows

def scan_leaves(w, d, owner):
    """All leaves of a device's day in order: [(key, value, etag)]. Keys and rows of a page are read at different times, as in a
    store whose pages are no snapshots: a bound that does not fit means that a leaf was closed or split meanwhile."""
    out, bound = [], -INF
    while bound < INF:
        keys = yield w.leaf_keys(d, owner, bound)
        if not keys:
            if out: raise Gone                # closed leaves and no open one: only while the day's table is dropped
            return out
        for k, (v, e) in zip(keys, (yield w.leaf_rows(d, keys))):
            if v is None: raise Gone
            if v['low'] != bound and w.bug != 'no-bound-check': w.count['page_again'] += 1; break
            out.append((k, v, e)); bound = k[1]
    return out

def writer(w, me, until):
    skew, last, head = w.r.uniform(-3, 3), 0.0, None
    while w.now < until:
        yield 'sleep', w.r.expovariate(1.2)
        last = stamp = max(last + 0.001, w.now + skew + me * 1e-6)
        shard, readings, deletions = w.r.choice((0, 0, 1)), {}, {}
        for dev in [d for d in SHARDS if SHARDS[d] == shard and w.r.random() < 0.7]:
            if w.r.random() < 0.015: deletions[dev] = stamp; w.sent_del.append((dev, stamp)); continue
            for _ in range(w.r.randint(1, 4)):
                t = math.floor((w.now - abs(w.r.gauss(0, 12 if w.r.random() < 0.7 else 60))) / GRID) * GRID
                x = (w.number(), stamp); readings.setdefault(dev, {})[t] = x; w.sent.setdefault((dev, t), set()).add(x)
        rows = {(stamp, me): (readings, deletions)}
        landed = 0
        for attempt in range(10):
            if head is None or attempt or w.r.random() < 0.3: head, _ = yield w.get(('head', shard))
            elif head['shard'] != shard: head, _ = yield w.get(('head', shard))
            name = head['epochs'][-1]
            if w.bug == 'invent-epoch' and w.r.random() < 0.3:
                name = max((n for t in w.journal.values() for n in t if n[3] == shard), default=name)
            if w.bug == 'two-transactions':
                ok = yield w.commit(name, {})
                if ok is True: ok = yield w.commit(name, rows, touch=False)
            else: ok = yield w.commit(name, rows)
            if ok is True or w.bug == 'ack-unanswered' and ok == 'no answer':
                w.count['doubled'] += sum((stamp, me) in p['rows'] for t in w.journal.values() for p in t.values()) > 1
                for dev, rs in readings.items():
                    for t, x in rs.items(): w.acked.append((w.now, dev, t, x[1])); w.count['acks'] += 1
                for dev, s in deletions.items(): w.acked_del.append((w.now, dev, s)); w.count['deletions'] += 1
                break
            w.count['resends'] += 1
            if w.r.random() < 0.1: break      # the instance dies: never acknowledged

def compactor(w, me, until):
    skew = w.r.uniform(-5, 5)
    while w.now < until:
        yield 'sleep', w.r.uniform(0.5, 4) if w.r.random() < 0.95 else w.r.uniform(5, 60)
        try:
            if w.r.random() < 0.15: yield from drop_journal(w, skew)
            yield from merge_run(w, w.r.randrange(2), skew)
        except (Abandon, Gone): pass

def drop_journal(w, skew):
    """An opener never goes back to an earlier table than that of the newest epoch, so what lies before all named epochs of all
    heads can never be named again: no clock, no race with an opener that sleeps."""
    heads = []
    for s in (0, 1): heads.append((yield w.get(('head', s)))[0])
    named = {n[0] for h in heads for n in h['epochs']}
    for table in (yield 'read', lambda: sorted(w.journal)):
        if table not in named and table < (w.now + skew) // TABLE if w.bug == 'drop-by-clock' else table < min(named): yield w.drop_table(table)

def maybe_crash(w):
    if not w.calm and w.r.random() < 0.01: w.count['crashes'] += 1; raise Abandon

def open_epoch(w, shard, head, etag, skew):
    table = int((w.now + skew) // TABLE)
    if w.bug != 'drop-by-clock': table = max(table, head['epochs'][-1][0])
    name = (table, head['next'], w.number(), shard)         # the nonce is of this one insert, which is sent once
    while True:
        got = yield w.insert_open(name)
        if got != 'no answer' or w.bug != 'open-twice': break
    if w.bug != 'name-unanswered': sure(got)
    maybe_crash(w)
    sure((yield w.put(('head', shard), dict(head, epochs=head['epochs'] + (name,), next=head['next'] + 1), etag, w.bug == 'head-blind')))

def merge_run(w, shard, skew):
    head, etag = yield w.get(('head', shard))
    if len(head['epochs']) < 2 or len(head['epochs']) < 4 and w.r.random() < 0.4:
        yield from open_epoch(w, shard, head, etag, skew)
        head, etag = yield w.get(('head', shard))
    batch = head['epochs'][:-1] if w.calm else head['epochs'][:-1][:w.r.randint(1, 3)]
    fresh, deletions, rows = {}, {}, {}
    if w.bug == 'merge-before-seal':
        for name in batch: rows.update((yield from scan_epoch(w, name)))
    for name in batch: sure((yield w.delete_open(name)))
    if w.bug != 'merge-before-seal':
        for name in batch: rows.update((yield from scan_epoch(w, name)))
    for readings, dels in rows.values():
        for dev, rs in readings.items(): merge(w, fresh.setdefault(dev, {}), rs)
        for dev, s in dels.items(): deletions[dev] = max(s, deletions.get(dev, 0))
    floor, _ = yield w.get('floor')
    entries, list_etag = yield w.get(('list', shard))
    entries = {d: dict(e) for d, e in (entries or {}).items()}
    new_head = dict(head, epochs=tuple(n for n in head['epochs'] if n not in batch))
    if w.bug == 'head-first': sure((yield w.put(('head', shard), new_head, etag)))
    later = []                                # (bug roll-after-move)
    for dev in sorted(set(fresh) | set(deletions)):
        maybe_crash(w)
        e = entries.setdefault(dev, {'cut': 0, 'latest': None})
        old, new = e['cut'], max(e['cut'], deletions.get(dev, 0))
        if w.bug == 'counter' and dev in deletions: new = old + 1
        rs = fresh.get(dev, {})
        if new > old:                         # a deletion: what of the old leaves has higher stamps?
            left, today = {}, day(w.now + 60)
            for d in range(floor, today + 1):
                for _, v, _ in (yield from scan_leaves(w, d, who(dev, old))): merge(w, left, v['readings'])
            if w.bug == 'counter': left = {}
            left = above(left, new)
            e['latest'] = max(((t,) + x for t, x in left.items()), default=None)
            if INC and w.bug != 'no-survivors': rs = merge(w, dict(rs), left)    # they move to the new incarnation
        if w.bug != 'counter': rs = above(rs, new)
        days = {day(t) for t in rs if day(t) >= floor}
        for d in sorted(days):
            todays = {t: x for t, x in rs.items() if day(t) == d}
            if d <= head['rolled'] and w.bug != 'roll-source-first': roll, roll_etag = yield w.get(('roll', who(dev, new), d))
            whole, changed = yield from merge_day(w, d, who(dev, new), todays, 0 if INC else new)
            if d > head['rolled'] or w.bug == 'skip-redo' and not changed: continue
            if w.bug == 'roll-source-first': yield 'sleep', w.r.expovariate(1); roll, roll_etag = yield w.get(('roll', who(dev, new), d))
            maybe_crash(w)
            write = w.put(('roll', who(dev, new), d), (new, whole), roll_etag, w.bug == 'roll-blind')
            if w.bug == 'roll-after-move': later.append(write); continue
            if roll != (new, whole): sure((yield write))     # equal: nothing to write, whatever rule 4 says
        e['cut'] = new
        e['latest'] = max([(t,) + x for t, x in rs.items()] + ([e['latest']] if e['latest'] else []), key=lambda x: (x[0], x[2], x[1]), default=None)
    if fresh or deletions: sure((yield w.put(('list', shard), entries, list_etag, w.bug == 'list-blind')))
    maybe_crash(w)
    if w.bug != 'head-first' and batch: sure((yield w.put(('head', shard), new_head, etag, w.bug == 'head-blind'))); w.count['merges'] += 1
    for write in later: yield write
    if w.r.random() < 0.3 or w.calm: yield from roll_up(w, shard)

def merge_day(w, d, owner, readings, cut):
    """Merges into the leaves of a device's day, a transaction for each leaf with the pieces cut off it (docs/adr/0005): leaves tile the day,
    so each is independent of the others. Returns all its readings, and whether anything changed."""
    leaves = yield from scan_leaves(w, d, owner)
    if not leaves: leaves = [((owner, INF), {'low': -INF, 'readings': {}}, None)]
    groups, whole = [], {}
    for key, v, etag in leaves:
        changes = []; groups.append(changes)
        got = merge(w, above(v['readings'], cut), {t: x for t, x in readings.items() if v['low'] < t <= key[1]})
        merge(w, whole, got)
        if got == v['readings'] and etag is not None: continue
        limit, low, ts = (6 if key[1] == INF else 8), v['low'], sorted(got)
        while len(ts) > limit:                # close or split: the key is the upper bound, the last piece keeps the row's key
            piece, ts = ts[:5], ts[5:]
            changes.append(((owner, piece[-1]), {'low': low, 'readings': {t: got[t] for t in piece}}, None)); low = piece[-1]
        changes.append((key, {'low': low, 'readings': {t: got[t] for t in ts}}, etag))
    maybe_crash(w)
    for changes in filter(None, groups):
        if w.bug == 'split-in-two':
            for c in reversed(changes): sure((yield w.leaf_transaction(d, [c])))
        else: sure((yield w.leaf_transaction(d, changes)))
        maybe_crash(w)
    return whole, any(groups)

def roll_up(w, shard):
    """A day is over (by any clock: a wrong one costs work): its rollups, then the head says so."""
    head, etag = yield w.get(('head', shard))
    d = head['rolled'] + 1
    if d >= day(w.now): return
    entries, _ = yield w.get(('list', shard))
    for dev, e in (entries or {}).items():
        key = ('roll', who(dev, e['cut']), d)
        _, roll_etag = yield w.get(key)
        whole = {}
        for _, v, _ in (yield from scan_leaves(w, d, who(dev, e['cut']))): merge(w, whole, v['readings'])
        whole = whole if INC else above(whole, e['cut'])
        sure((yield w.put(key, (e['cut'], whole), roll_etag)))
    sure((yield w.put(('head', shard), dict(head, rolled=d), etag))); w.count['rolled_up'] += 1

def retention(w, until):
    while w.now < until:
        yield 'sleep', w.r.uniform(2, 10)
        try:
            floor, etag = yield w.get('floor')
            if floor < day(w.now) - KEEP: sure((yield w.put('floor', floor + 1, etag)))
            floor, _ = yield w.get('floor')
            for d in (yield 'read', lambda: [d for d in w.days if d < floor]):
                yield 'write', lambda d=d: w.count.__setitem__('days_dropped', w.count['days_dropped'] + (w.days.pop(d, None) is not None)) or True
            if INC and w.r.random() < 0.7:    # what old incarnations left is cleaned up
                for s in (0, 1):
                    for dev, e in ((yield w.get(('list', s)))[0] or {}).items(): yield 'write', lambda dev=dev, e=e: clean(w, dev, e['cut'])
        except Abandon: pass

def clean(w, dev, cut):
    for table in w.days.values():
        for k in [k for k in table if k[0][0] == dev and k[0][1] < cut]: del table[k]; w.etag += 1
    return True

def reader(w, until):
    cached = {}
    while w.now < until:
        yield 'sleep', w.r.expovariate(1.5)
        dev = w.r.choice(sorted(SHARDS)); begun = w.now
        try: yield from query(w, dev, begun, cached)
        except Gone: w.count['day_gone'] += 1 # the table of a day went under us (the floor rose): the query starts again

def query(w, dev, begun, cached):
    shard = SHARDS[dev]
    head, _ = yield w.get(('head', shard))
    if w.bug == 'old-head': head, cached[shard] = cached.get(shard, head), head
    floor, _ = yield w.get('floor')
    found = {}
    if w.bug == 'leaf-before-tail':
        entry, found = yield from history(w, dev, shard, head, floor, {}, 0)
    tail, cut = {}, 0
    for name in head['epochs']:
        try: rows = yield from scan_epoch(w, name)
        except Gone:
            w.count['gone'] += 1
            again, _ = yield w.get(('head', shard))
            if name in again['epochs'] and w.bug != 'gone-is-empty': w.error = f'epoch {name} is gone and still named'; return
            continue
        for readings, dels in rows.values():
            merge(w, tail, readings.get(dev, {})); cut = max(cut, dels.get(dev, 0))
    if w.bug != 'leaf-before-tail':
        while True:
            entry, found = yield from history(w, dev, shard, head, floor, tail, cut)
            if not INC or w.bug == 'no-recheck': break
            again, _ = yield w.get(('list', shard))
            if ((again or {}).get(dev) or {'cut': 0})['cut'] == entry['cut']: break
    answer = {t: x for t, x in merge(w, above(found, 0 if w.bug == 'no-cut' else max(cut, 0 if INC else entry['cut'])), above(tail, max(cut, entry['cut']))).items() if day(t) >= floor}
    newest = max([(t,) + x for t, x in above(tail, max(cut, entry['cut'])).items()] + ([entry['latest']] if entry['latest'] and entry['latest'][2] > cut else []), key=lambda x: (x[0], x[2], x[1]), default=None)
    if cut > entry['cut']: newest = None      # a deletion in the tail: latest is folded from the answer
    check(w, dev, begun, answer, newest, cut > entry['cut'])

def history(w, dev, shard, head, floor, tail, cut):
    """Rule 5, day by day: rollup, or rollup and a later tail, or leaves. (The rollup keeps the readings themselves: a sharper check.)"""
    entries, _ = yield w.get(('list', shard))
    entry = (entries or {}).get(dev) or {'cut': 0, 'latest': None}
    out, touched = {}, {}
    for t in tail: touched.setdefault(day(t), []).append(t)
    for d in range(floor, day(w.now + 10) + 1):
        roll = None
        if d <= head['rolled'] and cut <= entry['cut']: roll, _ = yield w.get(('roll', who(dev, entry['cut']), d))
        if roll and roll[0] != entry['cut'] and w.bug != 'roll-any-cut': roll = None
        if roll and d in touched and roll[1] and min(touched[d]) > max(roll[1]): w.count['rollup_and_tail'] += 1
        elif roll and d in touched and w.bug != 'roll-despite-tail': roll = None
        if roll and set(touched.get(d, ())) & set(roll[1]): w.error = f'{dev} day {d}: rollup plus tail counts a reading twice'
        if roll and any(s <= entry['cut'] for _, s in roll[1].values()): w.error = f'{dev} day {d}: a rollup holds what was deleted'
        if roll: w.count['from_rollup'] += 1; out.update(roll[1]); continue
        for _, v, _ in (yield from scan_leaves(w, d, who(dev, entry['cut']))): merge(w, out, v['readings'])
    return entry, out

def check(w, dev, begun, answer, newest, folded):
    w.count['reads'] += 1
    floor = w.rows['floor'][0]
    gone = max([s for at, d, s in w.acked_del if d == dev and at <= begun], default=0)
    perhaps = max([s for d, s in w.sent_del if d == dev], default=0)
    need = {}
    for at, d, t, s in w.acked:
        if d == dev and at <= begun and s > perhaps and day(t) >= floor: need[t] = max(s, need.get(t, 0))
    for t, s in need.items():
        if t not in answer: w.error = f'{dev}@{t} acknowledged before {begun:.1f} is missing'; return
        if answer[t][1] < s: w.error = f'{dev}@{t} has an older value than acknowledged'; return
    for t, x in answer.items():
        if x not in w.sent.get((dev, t), ()): w.error = f'{dev}@{t} was never sent'; return
        if x[1] <= gone: w.error = f'{dev}@{t} was deleted before the query'; return
    if folded or not need: return
    top = max(need)
    if not newest or newest[0] < top or newest[0] == top and newest[2] < need[top]: w.error = f'latest of {dev} is {newest}, not {top}'
    elif newest[1:] not in w.sent.get((dev, newest[0]), ()) or newest[2] <= gone: w.error = f'latest of {dev} was never sent or deleted'

def at_rest(w):
    """Nobody runs any more: one compactor merges everything, then leaves alone must hold it all, and rollups what the leaves hold."""
    w.calm = True; w.queue = []
    for _ in range(12):
        for s in (0, 1): w.start(merge_run(w, s, 0.0)); w.run(w.now + 2)
    for dev, shard in SHARDS.items():
        if w.error: return
        entry = (w.rows.get(('list', shard), ({}, 0))[0] or {}).get(dev) or {'cut': 0, 'latest': None}
        found = {}
        for d, table in w.days.items():
            bound, day_is = -INF, {}
            for k in sorted(k for k in table if k[0] == who(dev, entry['cut'])):
                v = table[k][0]
                if v['low'] != bound or any(not bound < t <= k[1] for t in v['readings']): w.error = f'leaves of {dev} on day {d} have a gap or overlap'; return
                bound = k[1]; day_is.update(v['readings'])
            if not INC: day_is = above(day_is, entry['cut'])
            found.update(day_is)
            roll = w.rows.get(('roll', who(dev, entry['cut']), d), ((None, None), 0))[0]
            if d >= w.rows['floor'][0] and roll[0] == entry['cut'] and d <= w.rows[('head', shard)][0]['rolled'] and roll[1] != day_is: w.error = f'rollup of {dev} day {d} differs from its leaves at rest'; return
        check(w, dev, w.now, {t: x for t, x in found.items() if day(t) >= w.rows['floor'][0]}, entry['latest'], False)

def main():
    seeds, bug = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 and sys.argv[2] != '-' else None
    first = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    assert bug is None or bug in BUGS, sorted(BUGS)
    total = {}
    for seed in range(first, first + seeds):
        w = World(seed, bug); end = 1000 + 220
        w.rows['floor'] = (day(1000) - 3, 0)
        for s in (0, 1):
            name = (int(1000 // TABLE), 1, 0, s)
            w.journal.setdefault(name[0], {})[name] = {'open': True, 'rows': {}}
            w.rows[('head', s)] = ({'shard': s, 'epochs': (name,), 'next': 2, 'rolled': day(1000) - 2}, 0)
        for i in range(3): w.start(writer(w, i, end)); w.start(compactor(w, i, end)); w.start(reader(w, end))
        w.start(retention(w, end))
        w.run(end + 60)
        if not w.error: at_rest(w)
        for k, v in w.count.items(): total[k] = total.get(k, 0) + v
        if w.error: print(f'seed {seed}, t={w.now:.1f}: {w.error}'); sys.exit(1)
    print(f'{seeds} seeds from {first}, no wrong answer: {total}')

main()
