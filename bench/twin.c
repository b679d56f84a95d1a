/*
 * The same split ring in C: what it costs where nothing is in the way.
 *
 * Two pinned threads, a driver and a device, over plain memory. The device checks what ours checks (index jumps, heads,
 * next indices, table bounds, order and place of every buffer), the driver checks what ours checks (used ids, tokens,
 * chains that were not available yet), and neither trusts what the other can write. Both poll.
 *
 * Reads lines of "what batch milliseconds" and answers each with "requests nanoseconds processor", the last of them the
 * nanoseconds of processor time since the start:
 *   ping-pong  one word each way
 *   split      the driver writes the descriptors of every chain
 *   static     the driver writes only descriptors that change, as ours does
 * A batch of 0 keeps the ring filled instead of waiting for each batch.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SIZE = 512, MASK = SIZE - 1, SLOTS = SIZE / 2, STRIDE = 40, READABLE = 36, TAIL = 4 };
enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };
enum { TABLE = 0x1000, AVAILABLE = 0x8000, USED = 0xa000, REQUESTS = 0x20000, MEMORY = 1 << 20 };
enum { USED_EVENT = AVAILABLE + 4 + 2 * SIZE, AVAILABLE_EVENT = USED + 4 + 8 * SIZE };
enum { BASE = 0x40000000, STREAM_BURST = 8, STREAM_ADD = 16 };

static uint8_t *memory;
static pthread_barrier_t window;
static char what[16];
static int batch;
static atomic_bool stopped;

/* What is written while a window lasts lies in lines of its own. */
#define OWN_LINES _Alignas(128)
static struct {
  OWN_LINES atomic_int there;
  OWN_LINES atomic_int back;
} turns;

#define AT16(at) ((uint16_t *)(memory + (at)))
#define AT32(at) ((uint32_t *)(memory + (at)))

static uint16_t load16(uint32_t at) { return __atomic_load_n(AT16(at), __ATOMIC_SEQ_CST); }
static void store16(uint32_t at, uint16_t value) { __atomic_store_n(AT16(at), value, __ATOMIC_SEQ_CST); }

static void damaged(const char *reason) {
  fprintf(stderr, "twin: %s\n", reason);
  exit(1);
}

static double clock_ns(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return time.tv_sec * 1e9 + time.tv_nsec;
}

static double now(void) { return clock_ns(CLOCK_MONOTONIC); }

static bool passes_event(uint16_t event, uint16_t after, uint16_t before) {
  return (uint16_t)(after - event - 1) < (uint16_t)(after - before);
}

/* The position of a buffer, or -1. */
static int32_t locate(uint32_t low, uint32_t high, uint32_t length) {
  uint32_t position = low - BASE;
  if (high != 0 || low < BASE || position > MEMORY || length > MEMORY - position) return -1;
  return (int32_t)position;
}

struct chain {
  uint16_t id;
  bool reachable;
  uint32_t readable_bytes, writable_bytes;
  int count, readable_count;
  int32_t position[SIZE];
  uint32_t length[SIZE];
};

static void walk(uint16_t head, struct chain *chain) {
  if (head >= SIZE) damaged("a head outside the table");
  uint32_t table = TABLE, entries = SIZE, index = head;
  bool direct = true, writing = false;
  chain->id = head;
  chain->reachable = true;
  chain->readable_bytes = chain->writable_bytes = 0;
  chain->count = chain->readable_count = 0;
  for (int buffers = 0; buffers < SIZE;) {
    uint32_t entry = table + index * 16;
    uint32_t low = *AT32(entry), high = *AT32(entry + 4), length = *AT32(entry + 8);
    uint32_t word = *AT32(entry + 12);
    if (word & INDIRECT) {
      if (!direct || word & NEXT || length == 0 || length % 16 != 0) damaged("an indirect table");
      int32_t at = locate(low, high, length);
      if (at < 0) damaged("an indirect table outside memory");
      table = (uint32_t)at;
      entries = length / 16;
      index = 0;
      direct = false;
      continue;
    }
    bool writable = word & WRITE;
    if (writing && !writable) damaged("a readable buffer behind a writable one");
    writing = writable;
    if (length != 0) {
      int32_t at = locate(low, high, length);
      if (at < 0) {
        chain->reachable = false;
      } else {
        chain->position[chain->count] = at;
        chain->length[chain->count++] = length;
        if (!writable) chain->readable_count++;
      }
      if (writable) chain->writable_bytes += length;
      else chain->readable_bytes += length;
    }
    buffers++;
    if (!(word & NEXT)) return;
    index = word >> 16;
    if (index >= entries) damaged("a next index outside its table");
  }
  damaged("a chain longer than the queue");
}

static struct {
  /* Keeps the compiler from dropping what nobody reads. */
  OWN_LINES uint64_t sum;
  /* Nobody sleeps, so these go nowhere: an event that is never moved is passed once in 65536 chains. */
  uint32_t interrupts;
  struct chain chain;
} device_side;

/* Answers one request; returns the bytes written. */
static uint32_t serve(struct chain *chain) {
  if (!chain->reachable || chain->readable_count == 0 || chain->length[0] < READABLE || chain->writable_bytes < TAIL)
    return 0;
  uint32_t *request = AT32(chain->position[0]);
  uint32_t type = request[0], domain = request[1], low = request[2], high = request[3];
  uint32_t last_low = request[4], last_high = request[5], phys = request[6], flags = request[8];
  uint32_t status = 4;
  if ((type & 0xff) == 3 && (last_high > high || (last_high == high && last_low > low))) status = 0;
  device_side.sum += domain + low + phys + flags;
  *AT32(chain->position[chain->readable_count]) = status;
  return TAIL;
}

static void device_ring(void) {
  struct chain *chain = &device_side.chain;
  uint16_t next = 0, used = 0, published = 0;
  for (;;) {
    uint16_t seen = load16(AVAILABLE + 2);
    if (seen == next) {
      if (atomic_load_explicit(&stopped, memory_order_relaxed)) return;
      continue;
    }
    if ((uint16_t)(seen - next) + (uint16_t)(next - used) > SIZE) damaged("the available index jumped");
    while (next != seen) {
      walk(*AT16(AVAILABLE + 4 + 2 * (next & MASK)), chain);
      next++;
      uint32_t element = USED + 4 + 8 * (used & MASK);
      uint32_t written = serve(chain);
      *AT32(element) = chain->id;
      *AT32(element + 4) = written;
      used++;
      if (used != published && (next == seen || (batch == 0 && used % STREAM_BURST == 0))) {
        store16(USED + 2, used);
        if (passes_event(load16(USED_EVENT), used, published)) device_side.interrupts++;
        published = used;
      }
    }
  }
}

/* The driver's own copy of what it wrote. */
static struct driver {
  OWN_LINES uint32_t low[SIZE], length[SIZE], word[SIZE];
  uint16_t entries[SIZE], free[SIZE], positions[SIZE];
  int32_t tokens[SIZE];
  uint16_t free_first, free_count, available, published, used, seen;
  uint32_t notifications;
  bool rewrite;
} driver;

static void describe(uint16_t index, uint32_t low, uint32_t length, uint32_t word) {
  struct driver *d = &driver;
  if (!d->rewrite && d->low[index] == low && d->length[index] == length && d->word[index] == word) return;
  d->low[index] = low;
  d->length[index] = length;
  d->word[index] = word;
  uint32_t *entry = AT32(TABLE + index * 16);
  entry[0] = low;
  entry[1] = 0;
  entry[2] = length;
  entry[3] = word;
}

static void add(uint32_t slot) {
  struct driver *d = &driver;
  if (d->free_count < 2) damaged("no free descriptors");
  uint16_t head = d->free[d->free_first], tail = d->free[(d->free_first + 1) & MASK];
  d->free_first = (d->free_first + 2) & MASK;
  d->free_count -= 2;
  uint32_t at = REQUESTS + slot * STRIDE;
  describe(head, BASE + at, READABLE, NEXT | (uint32_t)tail << 16);
  describe(tail, BASE + at + READABLE, TAIL, WRITE);
  uint16_t entry = d->available & MASK;
  if (d->rewrite || d->entries[entry] != head) {
    d->entries[entry] = head;
    *AT16(AVAILABLE + 4 + 2 * entry) = head;
  }
  d->tokens[head] = (int32_t)slot;
  d->positions[head] = d->available++;
}

static void publish(void) {
  struct driver *d = &driver;
  if (d->available == d->published) return;
  store16(AVAILABLE + 2, d->available);
  if (passes_event(load16(AVAILABLE_EVENT), d->available, d->published)) d->notifications++;
  d->published = d->available;
}

/* The slot of the next used chain, or -1. */
static int32_t take(void) {
  struct driver *d = &driver;
  if (d->used == d->seen) {
    uint16_t seen = load16(USED + 2);
    if ((uint16_t)(seen - d->used) > (uint16_t)(d->published - d->used)) damaged("the used index jumped");
    if (seen == d->used) return -1;
    d->seen = seen;
  }
  uint32_t element = USED + 4 + 8 * (d->used & MASK);
  uint32_t head = *AT32(element), written = *AT32(element + 4);
  if (head >= SIZE || d->tokens[head] < 0) damaged("a used id that is not in flight");
  uint16_t since = d->positions[head] - d->published;
  if (since < (uint16_t)(d->available - d->published) && d->entries[d->positions[head] & MASK] == head)
    damaged("a used id that was not available yet");
  if (written != TAIL) damaged("a used length");
  int32_t slot = d->tokens[head];
  d->tokens[head] = -1;
  d->used++;
  for (uint32_t index = head;;) {
    d->free[(d->free_first + d->free_count++) & MASK] = index;
    if (!(d->word[index] & NEXT)) return slot;
    index = d->word[index] >> 16;
  }
}

static void fill(uint32_t slot, uint32_t page) {
  uint32_t *request = AT32(REQUESTS + slot * STRIDE);
  request[0] = 3;
  request[1] = 1;
  request[2] = page << 12;
  request[3] = 0;
  request[4] = page << 12 | 0xfff;
  request[5] = 0;
  request[6] = page << 12;
  request[7] = 0;
  request[8] = 3;
  request[9] = 0xff;
}

static uint64_t drive_ring(double end) {
  struct driver *d = &driver;
  uint32_t slot = 0, page = 0, in_flight = 0, period = batch == 0 || batch >= 64 ? 1 : 8;
  uint64_t done = 0;
  for (uint32_t turn = 0;; turn++) {
    bool last = turn % period == 0 && now() > end;
    if (last && in_flight == 0) return done;
    uint32_t count = batch != 0 ? (uint32_t)batch : SLOTS - in_flight < STREAM_ADD ? SLOTS - in_flight : STREAM_ADD;
    for (uint32_t index = 0; !last && index < count; index++, in_flight++) {
      page = (page + 1) & 0xfffff;
      fill(slot, page);
      add(slot);
      slot = (slot + 1) % SLOTS;
    }
    publish();
    while (in_flight > 0) {
      int32_t token = take();
      if (token < 0) {
        if (batch == 0 && !last) break;
        continue;
      }
      if ((AT32(REQUESTS + token * STRIDE)[9] & 0xff) != 0) damaged("a request failed");
      in_flight--;
      done++;
    }
    if (d->used == d->available && in_flight != 0) damaged("requests are missing");
  }
}

static void device_ping_pong(void) {
  for (int turn = 1;; turn++) {
    while (atomic_load(&turns.there) != turn)
      if (atomic_load_explicit(&stopped, memory_order_relaxed)) return;
    atomic_store(&turns.back, turn);
  }
}

static uint64_t drive_ping_pong(double end) {
  for (int turn = 1;; turn++) {
    if (turn % 64 == 0 && now() > end) return turn - 1;
    atomic_store(&turns.there, turn);
    while (atomic_load(&turns.back) != turn);
  }
}

static bool rings(void) { return strcmp(what, "ping-pong") != 0; }

/* Pins the calling thread to the given one of the processors that the process may use. */
static bool pin(int number) {
  cpu_set_t all, one;
  if (sched_getaffinity(0, sizeof all, &all) != 0) return false;
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, &all) || number-- > 0) continue;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    return pthread_setaffinity_np(pthread_self(), sizeof one, &one) == 0;
  }
  return false;
}

static void *device(void *unused) {
  (void)unused;
  if (!pin(1)) damaged("needs two processors");
  for (;;) {
    pthread_barrier_wait(&window);
    if (rings()) device_ring();
    else device_ping_pong();
    pthread_barrier_wait(&window);
  }
  return NULL;
}

int main(void) {
  double milliseconds;
  pthread_t thread;
  memory = aligned_alloc(4096, MEMORY);
  if (memory == NULL || pthread_barrier_init(&window, NULL, 2) != 0) damaged("no memory");
  if (pthread_create(&thread, NULL, device, NULL) != 0 || !pin(0)) damaged("no second thread");
  while (scanf("%15s %d %lf", what, &batch, &milliseconds) == 3) {
    if (batch < 0 || batch > SLOTS) damaged("a batch larger than the ring");
    memset(memory, 0, MEMORY);
    memset(&driver, 0, sizeof driver);
    memset(driver.tokens, 0xff, sizeof driver.tokens);
    for (int index = 0; index < SIZE; index++) driver.free[index] = (uint16_t)index;
    driver.free_count = SIZE;
    driver.rewrite = strcmp(what, "split") == 0;
    /* Both poll: the event that comes last. */
    store16(USED_EVENT, 0xffff);
    store16(AVAILABLE_EVENT, 0xffff);
    atomic_store(&turns.there, 0);
    atomic_store(&turns.back, 0);
    atomic_store(&stopped, false);
    pthread_barrier_wait(&window);
    double begun = now();
    uint64_t requests = rings() ? drive_ring(begun + milliseconds * 1e6) : drive_ping_pong(begun + milliseconds * 1e6);
    double elapsed = now() - begun, used = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    atomic_store(&stopped, true);
    pthread_barrier_wait(&window);
    printf("%llu %.0f %.0f\n", (unsigned long long)requests, elapsed, used);
    fflush(stdout);
  }
  return device_side.sum == 1;
}
