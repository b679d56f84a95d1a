export { Bell } from './bell.ts';
export { BufferList } from './buffer-list.ts';
export { Chain } from './chain.ts';
export { type GuestMemory } from './guest-memory.ts';
export { PackedDeviceQueue } from './packed-device-queue.ts';
export { PackedDriverQueue } from './packed-driver-queue.ts';
export { packedQueueBytes } from './packed-layout.ts';
export { createDeviceQueue, createDriverQueue, queueBytes } from './queue-format.ts';
export {
  Popped,
  Taken,
  queueFeatures,
  type ChainHandler,
  type DeviceQueue,
  type DeviceQueueOptions,
  type DriverQueue,
  type DriverQueueOptions,
  type QueueAreaBytes,
  type QueueFeatures,
  type QueueLayout,
} from './queue.ts';
export {
  QUEUE_STATE_VERSION,
  type ChainState,
  type DeviceQueueState,
  type DriverQueueState,
  type QueueState,
} from './queue-state.ts';
export { SharedMemory, type SharedMemoryOptions } from './shared-memory.ts';
export { SplitDeviceQueue } from './split-device-queue.ts';
export { type IndirectTablesOptions } from './descriptor-table.ts';
export { SplitDriverQueue } from './split-driver-queue.ts';
export { splitQueueBytes } from './split-layout.ts';
export { TranslatedMemory, type TranslatedMemoryOptions } from './translated-memory.ts';
export { Access, IDENTITY, PieceList, Translated, type Translator } from './translator.ts';
export { ViewList } from './view-list.ts';
export { Patience, type PatienceOptions } from './patience.ts';
export { Waiter, type Waitable, type WaiterOptions } from './waiter.ts';
