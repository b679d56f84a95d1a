export {
  CONTROL_BLOCKS_MAX,
  CONTROL_PAGE_SIZE,
  ControlBlock,
  ControlHead,
  ControlPage,
  DOORBELLS_MAX,
  type Doorbells,
} from './control-page.ts';
export { statusAfterWrite } from './device-status.ts';
export { DirectPort } from './direct-port.ts';
export { type DriverTransport, type FeatureRequest } from './driver-transport.ts';
export { HostPort, type HostPortOptions } from './host-port.ts';
export { HostMailbox, MailboxPort, type MailboxPortOptions } from './mailbox.ts';
export { MmioDevice, type MmioDeviceOptions } from './mmio-device.ts';
export { MmioTransport, type MmioTransportOptions } from './mmio-transport.ts';
export { type RegisterDevice, type RegisterPort } from './register-device.ts';
export { RegisterWindow } from './register-window.ts';
export { type DevicePort, type VirtioDevice, type VirtioSession } from './virtio-device.ts';
