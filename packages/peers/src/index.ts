export { MirrorMemory, type MirrorMemoryOptions } from './qemu/mirror-memory.ts';
export {
  QEMU_WINDOW,
  QemuMachine,
  type Accelerator,
  type QemuDevice,
  type QemuMachineOptions,
} from './qemu/machine.ts';
export { PciBus, type PciFunction } from './qemu/pci.ts';
export { PciTransport } from './qemu/pci-transport.ts';
export { PeerLost, type LossKind } from './qemu/peer-lost.ts';
export { PeerProcess, type LostError, type PeerProcessOptions } from './qemu/peer-process.ts';
export { findQemus, qemuByName, qemuProgram, type QemuProgram } from './qemu/program.ts';
export { qemuManifest } from './qemu/manifest.ts';
export { qemuTarget } from './qemu/target.ts';
export {
  Qtest,
  type QtestOptions,
  type QtestWatch,
  type QtestWrite,
  type Width,
} from './qemu/qtest.ts';
export { VirtioPci, type VirtioPciOptions } from './qemu/virtio-pci.ts';
export { SD_DMA_BYTES_MAX, SD_DMA_LAST, SdDma, sdDmaDevice } from './qemu/sd-dma.ts';
