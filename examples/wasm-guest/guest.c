/*
 * A virtio-iommu driver in C for wasm32 with threads: the smallest guest that is not JavaScript.
 *
 * The memory it imports is the machine's one memory, so the register window, the control page and guest RAM are
 * ordinary addresses here, and the rings are read and written byte for byte as any virtio driver would.
 *
 * Build: ./build.sh (clang and lld with the wasm32 target). The result, guest.wasm, is checked in.
 */

#include <stdint.h>

typedef _Atomic uint16_t atomic_u16;
typedef _Atomic uint32_t atomic_u32;

/* Section "MMIO Device Register Layout". */
enum {
  MAGIC_VALUE = 0x000, VERSION = 0x004, DEVICE_ID = 0x008, DEVICE_FEATURES = 0x010, DEVICE_FEATURES_SEL = 0x014,
  DRIVER_FEATURES = 0x020, DRIVER_FEATURES_SEL = 0x024, QUEUE_SEL = 0x030, QUEUE_SIZE_MAX = 0x034, QUEUE_SIZE = 0x038,
  QUEUE_READY = 0x044, STATUS = 0x070, QUEUE_DESC = 0x080, QUEUE_DRIVER = 0x090, QUEUE_DEVICE = 0x0a0,
};
enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8 };
enum { F_MAP_UNMAP = 1u << 2, F_VERSION_1_HIGH = 1u << 0 };

/* Section "Split Virtqueues". */
enum { QUEUE_ENTRIES = 8, NEXT = 1, WRITE = 2 };
struct descriptor { uint64_t addr; uint32_t len; uint16_t flags, next; };
struct available { uint16_t flags; atomic_u16 idx; uint16_t ring[QUEUE_ENTRIES], used_event; };
struct used { uint16_t flags; atomic_u16 idx; struct { uint32_t id, len; } ring[QUEUE_ENTRIES]; uint16_t avail_event; };

/* Section "IOMMU Device / Device operations". */
enum { ATTACH = 1, DETACH = 2, MAP = 3, UNMAP = 4 };
struct head { uint8_t type, reserved[3]; };
struct tail { uint8_t status, reserved[3]; };
struct attach { struct head head; uint32_t domain, endpoint, flags; uint8_t reserved[4]; };
struct detach { struct head head; uint32_t domain, endpoint; uint8_t reserved[8]; };
struct map { struct head head; uint32_t domain; uint64_t virt_start, virt_end, phys_start; uint32_t flags; } __attribute__((packed));
struct unmap { struct head head; uint32_t domain; uint64_t virt_start, virt_end; uint8_t reserved[4]; } __attribute__((packed));
_Static_assert(sizeof(struct attach) == 20 && sizeof(struct detach) == 20, "sizes of the standard");
_Static_assert(sizeof(struct map) == 36 && sizeof(struct unmap) == 28, "sizes of the standard");

/* The machine's control page: see the transport package. */
struct control_block {
  atomic_u32 posted, acknowledged, reg, value; uint32_t reserved_mailbox[12];
  atomic_u32 interrupt; uint32_t reserved_interrupt[15];
  atomic_u32 doorbells[8];
};

/* Where things lie in the memory; `ram_base` is the guest-physical address of `ram`. */
struct machine { uint8_t *window; struct control_block *block; atomic_u32 *host_bell; uint8_t *ram; uint64_t ram_base; };

static struct machine m;
static struct descriptor *descriptors;
static struct available *avail;
static struct used *device_used;
static uint8_t *request;
static uint16_t next_used;

static const int64_t TIMEOUT_NS = 5000000000;
static const int POLLS = 1000000;

static void *memory_copy(void *to, const void *from, uint32_t bytes) {
  for (uint32_t i = 0; i < bytes; i++) ((uint8_t *)to)[i] = ((const uint8_t *)from)[i];
  return to;
}

static void ring_host(void) {
  __c11_atomic_fetch_add(m.host_bell, 1, __ATOMIC_SEQ_CST);
  __builtin_wasm_memory_atomic_notify((int *)m.host_bell, 1);
}

static uint32_t read_register(uint32_t offset) {
  return __c11_atomic_load((atomic_u32 *)(m.window + offset), __ATOMIC_SEQ_CST);
}

/* Posts a register write and waits for the device to act. 0, or -1 if it does not answer. */
static int write_register(uint32_t offset, uint32_t value) {
  uint32_t number = __c11_atomic_load(&m.block->posted, __ATOMIC_SEQ_CST) + 1;
  __c11_atomic_store(&m.block->reg, offset | 4u << 16, __ATOMIC_SEQ_CST);
  __c11_atomic_store(&m.block->value, value, __ATOMIC_SEQ_CST);
  __c11_atomic_store(&m.block->posted, number, __ATOMIC_SEQ_CST);
  ring_host();
  for (;;) {
    uint32_t seen = __c11_atomic_load(&m.block->acknowledged, __ATOMIC_SEQ_CST);
    if (seen == number) return 0;
    if (__builtin_wasm_memory_atomic_wait32((int *)&m.block->acknowledged, (int)seen, TIMEOUT_NS) == 2) return -1;
  }
}

static uint64_t physical(const void *at) { return m.ram_base + (uint64_t)((const uint8_t *)at - m.ram); }

static int write_address(uint32_t offset, const void *at) {
  uint64_t address = physical(at);
  return write_register(offset, (uint32_t)address) | write_register(offset + 4, (uint32_t)(address >> 32));
}

/* Sends one request and returns its status, or -1 if the device breaks the protocol. */
static int send(const void *bytes, uint32_t size) {
  struct tail *tail = (struct tail *)(request + 64);
  memory_copy(request, bytes, size);
  tail->status = 0xff;
  descriptors[0] = (struct descriptor){physical(request), size, NEXT, 1};
  descriptors[1] = (struct descriptor){physical(tail), sizeof *tail, WRITE, 0};
  uint16_t idx = __c11_atomic_load(&avail->idx, __ATOMIC_RELAXED);
  avail->ring[idx % QUEUE_ENTRIES] = 0;
  __c11_atomic_store(&avail->idx, (uint16_t)(idx + 1), __ATOMIC_SEQ_CST);
  if (device_used->flags == 0) {
    __c11_atomic_store(&m.block->doorbells[0], 0, __ATOMIC_SEQ_CST);
    ring_host();
  }
  for (int polls = 0; __c11_atomic_load(&device_used->idx, __ATOMIC_SEQ_CST) == next_used; polls++) {
    if (polls < POLLS) continue;
    uint32_t seen = __c11_atomic_load(&m.block->interrupt, __ATOMIC_SEQ_CST);
    if (__c11_atomic_load(&device_used->idx, __ATOMIC_SEQ_CST) != next_used) break;
    if (__builtin_wasm_memory_atomic_wait32((int *)&m.block->interrupt, (int)seen, TIMEOUT_NS) == 2) return -1;
  }
  uint32_t slot = next_used++ % QUEUE_ENTRIES;
  if (device_used->ring[slot].id != 0 || device_used->ring[slot].len != sizeof *tail) return -1;
  return tail->status;
}

/* Brings the device up with one split queue. 0, or the number of the step that failed. */
__attribute__((export_name("start")))
int start(uint32_t window, uint32_t block, uint32_t host_bell, uint32_t ram, uint32_t ram_base) {
  m = (struct machine){(uint8_t *)window, (struct control_block *)block, (atomic_u32 *)host_bell, (uint8_t *)ram, ram_base};
  descriptors = (struct descriptor *)m.ram;
  avail = (struct available *)(m.ram + 0x100);
  device_used = (struct used *)(m.ram + 0x200);
  request = m.ram + 0x300;
  next_used = 0;
  for (uint32_t i = 0; i < 0x400; i++) m.ram[i] = 0;

  if (read_register(MAGIC_VALUE) != 0x74726976 || read_register(VERSION) != 2 || read_register(DEVICE_ID) != 23) return 1;
  if (write_register(STATUS, 0) || write_register(STATUS, ACKNOWLEDGE) || write_register(STATUS, ACKNOWLEDGE | DRIVER)) return 2;
  if (write_register(DEVICE_FEATURES_SEL, 0) || !(read_register(DEVICE_FEATURES) & F_MAP_UNMAP)) return 3;
  if (write_register(DRIVER_FEATURES_SEL, 0) || write_register(DRIVER_FEATURES, F_MAP_UNMAP)) return 4;
  if (write_register(DRIVER_FEATURES_SEL, 1) || write_register(DRIVER_FEATURES, F_VERSION_1_HIGH)) return 5;
  if (write_register(STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK) || !(read_register(STATUS) & FEATURES_OK)) return 6;
  if (write_register(QUEUE_SEL, 0) || read_register(QUEUE_SIZE_MAX) < QUEUE_ENTRIES) return 7;
  if (write_register(QUEUE_SIZE, QUEUE_ENTRIES) || write_address(QUEUE_DESC, descriptors)) return 8;
  if (write_address(QUEUE_DRIVER, avail) || write_address(QUEUE_DEVICE, device_used)) return 9;
  if (write_register(QUEUE_READY, 1) || read_register(QUEUE_READY) != 1) return 10;
  if (write_register(STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)) return 11;
  return 0;
}

/* The status of each request, or -1. */
__attribute__((export_name("attach")))
int attach(uint32_t domain, uint32_t endpoint) {
  return send(&(struct attach){.head.type = ATTACH, .domain = domain, .endpoint = endpoint}, sizeof(struct attach));
}

__attribute__((export_name("detach")))
int detach(uint32_t domain, uint32_t endpoint) {
  return send(&(struct detach){.head.type = DETACH, .domain = domain, .endpoint = endpoint}, sizeof(struct detach));
}

__attribute__((export_name("map")))
int map(uint32_t domain, uint64_t virt_start, uint64_t virt_end, uint64_t phys_start, uint32_t flags) {
  struct map body = {.head.type = MAP, .domain = domain, .virt_start = virt_start, .virt_end = virt_end,
                     .phys_start = phys_start, .flags = flags};
  return send(&body, sizeof body);
}

__attribute__((export_name("unmap")))
int unmap(uint32_t domain, uint64_t virt_start, uint64_t virt_end) {
  struct unmap body = {.head.type = UNMAP, .domain = domain, .virt_start = virt_start, .virt_end = virt_end};
  return send(&body, sizeof body);
}
