export { type Bookkeeping, type MessageCount } from './bookkeeping.ts';
export { CopyEngine, type CopyRequest, type CopyResult } from './copy-engine.ts';
export {
  COPY_BYTES_MAX,
  COPY_MAGIC,
  COPY_VERSION,
  CopyRegisters,
  CopyStatus,
} from './copy-register.ts';
export { demonstrationMachine } from './demonstration.ts';
export { type DemonstrationEvent } from './demonstration-event.ts';
export {
  createGuest,
  type Guest,
  type GuestContext,
  type GuestEndpoint,
  type GuestProgram,
} from './guest.ts';
export { GuestRam } from './guest-ram.ts';
export {
  GuestSystem,
  type DiskOptions,
  type SystemDisk,
  type SystemOptions,
} from './guest-system.ts';
export {
  Host,
  type EndpointFactory,
  type HostContext,
  type HostEndpoint,
  type ModuleLoader,
} from './host.ts';
export {
  DEVICES_MAX,
  MemoryMap,
  RAM_BASE,
  RAM_BYTES_MAX,
  REGISTERS_BASE,
  type MemoryMapOptions,
  type Region,
} from './memory-map.ts';
export { Outbox, type MachineEvent, type Poster, type WorkerMessage } from './message.ts';
export {
  type CopyEndpointOptions,
  type EndpointOptions,
  type EndpointSettings,
  type GuestSettings,
  type HostSettings,
  type MachineOptions,
  type MachineSettings,
  type ModuleEndpointOptions,
} from './options.ts';
export { PageAllocator } from './page-allocator.ts';
export { Recorder, type LineTaker } from './recorder.ts';
export { type MachineStatistics } from './statistics.ts';
export { WorkloadGate, WorkloadTask } from './workload/gate.ts';
export { WORKLOADS, type WorkloadName } from './workload/pattern.ts';
export { POLICIES, POLICY_SETUPS, type Policy, type PolicySetup } from './workload/policy.ts';
export {
  WORKLOAD_DISK,
  type WorkloadArgs,
  type WorkloadEvent,
  type WorkloadFigures,
} from './workload/report.ts';
