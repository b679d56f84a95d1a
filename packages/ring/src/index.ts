export { Bell } from './bell.ts';
export { BufferList } from './buffer-list.ts';
export { Chain } from './chain.ts';
export { type GuestMemory } from './guest-memory.ts';
export { PackedDeviceQueue } from './packed-device-queue.ts';
export { PackedDriverQueue } from './packed-driver-queue.ts';
export { packedQueueBytes } from './packed-layout.ts';
export {
  Popped,
  Taken,
  type DeviceQueue,
  type DriverQueue,
  type QueueAreaBytes,
  type QueueFeatures,
  type QueueLayout,
} from './queue.ts';
export { SharedMemory, type SharedMemoryOptions } from './shared-memory.ts';
export { SplitDeviceQueue, type DeviceQueueOptions } from './split-device-queue.ts';
export { type IndirectTablesOptions } from './descriptor-table.ts';
export { SplitDriverQueue, type DriverQueueOptions } from './split-driver-queue.ts';
export { splitQueueBytes } from './split-layout.ts';
export { Waiter, type Waitable, type WaiterOptions } from './waiter.ts';
